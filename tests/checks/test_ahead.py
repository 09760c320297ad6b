"""Results in a row: the next are computed while one is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Barrier, Event, current_thread

import pytest

from explainsvc.checks._ahead import Ahead
from explainsvc.lanes import LANE, Lane
from explainsvc.stopping import STOP, Stop, Stopped

DEADLINE = 30.0
ONE, TWO = [Lane(1, 1)], [Lane(1, 2), Lane(1, 2)]
Tasks = Sequence[Callable[[], int]]


def steps_of(task: Callable[[tuple[int, int]], int], steps: int, tasks: int = 1) -> Iterator[Tasks]:
    """Steps of as many tasks, which know their place."""
    return ([partial(task, (step, n)) for n in range(tasks)] for step in range(steps))


def test_results_come_in_order_and_the_next_is_computed_meanwhile() -> None:
    """Nothing begins before the first is asked for; while one is there, the next has begun."""
    begun = [Event() for _ in range(3)]

    def task(place: tuple[int, int]) -> int:
        begun[place[0]].set()
        return place[0]

    with Ahead(steps_of(task, 3), 3, ONE, room=1) as ahead:
        assert not begun[0].is_set()
        for number in range(3):
            assert ahead.result((number, 0)) == number
            assert begun[min(number + 1, 2)].wait(DEADLINE)


def test_two_lanes_compute_two_steps_at_the_same_time() -> None:
    """Each in a thread of its own, in its lane, and its tasks one after the other."""
    meeting, threads = Barrier(2, timeout=DEADLINE), dict[int, set[str]]()

    def task(place: tuple[int, int]) -> int:
        if place[1] == 0:
            meeting.wait()
        threads.setdefault(place[0], set()).add(current_thread().name)
        own = LANE.get()
        assert own is not None
        return own.alone

    with Ahead(steps_of(task, 4, tasks=3), 4, TWO, room=8) as ahead:
        assert [ahead.result((step, n)) for step in range(4) for n in range(3)] == [2] * 12
    assert {len(names) for names in threads.values()} == {1}
    assert threads[0] != threads[1]


def test_the_last_step_has_all_threads() -> None:
    """The other lane has nothing left to do."""

    def threads(_: tuple[int, int]) -> int:
        own = LANE.get()
        assert own is not None
        return own.threads

    with Ahead(steps_of(threads, 5), 5, TWO, room=1) as ahead:
        assert [ahead.result((number, 0)) for number in range(5)] == [1, 1, 1, 1, 2]


def test_no_more_results_wait_than_there_is_room_for() -> None:
    """However fast they come: each may be large."""
    done: list[tuple[int, int]] = []

    def task(place: tuple[int, int]) -> int:
        done.append(place)
        return 0

    with Ahead(steps_of(task, 50), 50, TWO, room=3) as ahead:
        for number in range(10):
            ahead.result((number, 0))
            time.sleep(0.01)
            assert len(done) <= number + 1 + 3 + len(TWO) - 1  # both lanes may have found room for the last at once
        assert len(done) >= 10


def test_what_is_left_out_is_not_done() -> None:
    """Only the task that is asked for, and those after it for which there is room."""
    done: list[tuple[int, int]] = []

    def task(place: tuple[int, int]) -> int:
        done.append(place)
        return 0

    with Ahead(steps_of(task, 10, tasks=2), 10, ONE, room=1) as ahead:
        ahead.result((4, 1))
    assert done in ([(4, 1)], [(4, 1), (5, 0)])


@pytest.mark.parametrize("lanes", [ONE, TWO])
def test_an_error_is_raised_where_its_result_is_asked_for(lanes: Sequence[Lane]) -> None:
    """Not with the one before, which was fine."""

    def task(place: tuple[int, int]) -> int:
        return 6 // (1 - place[0])

    with Ahead(steps_of(task, 4), 4, lanes, room=4) as ahead:
        assert ahead.result((0, 0)) == 6
        with pytest.raises(ZeroDivisionError):
            ahead.result((1, 0))


def test_an_error_in_making_a_step_is_raised_where_its_first_result_is_asked_for() -> None:
    """The step before it is fine."""

    def steps() -> Iterator[Tasks]:
        yield [lambda: 1]
        raise ValueError("no second step")

    with Ahead(steps(), 2, TWO, room=4) as ahead:
        assert ahead.result((0, 0)) == 1
        with pytest.raises(ValueError, match="no second step"):
            ahead.result((1, 0))


def test_there_is_no_result_after_the_last() -> None:
    """Whoever counts wrongly hears of it."""
    with Ahead(iter([[lambda: 0]]), 1, TWO, room=1) as ahead:
        assert ahead.result((0, 0)) == 0
        with pytest.raises(IndexError):
            ahead.result((1, 0))


def test_a_job_that_is_stopped_stops_there_too() -> None:
    """The threads see the job's ``STOP``."""
    stop = Stop()
    token = STOP.set(stop)

    def task(_place: tuple[int, int]) -> int:
        STOP.get().check()
        return 0

    try:
        with Ahead(steps_of(task, 8), 8, TWO, room=1) as ahead:
            ahead.result((0, 0))
            stop.ask()
            with pytest.raises(Stopped):
                ahead.result((7, 0))
    finally:
        STOP.reset(token)


def test_leaving_early_waits_for_what_is_under_way_and_begins_nothing() -> None:
    """An audit that is closed leaves no thread behind."""
    done: list[tuple[int, int]] = []

    def task(place: tuple[int, int]) -> int:
        done.append(place)
        return 0

    with Ahead(steps_of(task, 100), 100, TWO, room=2) as ahead:
        ahead.result((0, 0))
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count < 100
