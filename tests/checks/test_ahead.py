"""Results in a row: the next is computed while one is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from threading import Event

import pytest

from explainsvc.checks._ahead import Ahead
from explainsvc.stopping import STOP, Stop, Stopped

DEADLINE = 30.0


def test_results_come_in_order_and_the_next_is_computed_meanwhile() -> None:
    """Nothing begins before the first is asked for; while one is there, the next has begun."""
    begun = [Event() for _ in range(3)]

    def task(number: int) -> int:
        begun[number].set()
        return number

    with Ahead(partial(task, n) for n in range(3)) as ahead:
        assert not begun[0].is_set()
        for number in range(3):
            assert ahead.result(number) == number
            assert begun[min(number + 1, 2)].wait(DEADLINE)


def test_what_is_left_out_is_not_done() -> None:
    """Only the task that is asked for, and perhaps the one after it."""
    done: list[int] = []
    with Ahead(partial(done.append, n) for n in range(10)) as ahead:
        ahead.result(4)
    assert done in ([4], [4, 5])


def test_an_error_is_raised_where_its_result_is_asked_for() -> None:
    """Not with the one before, which was fine."""

    def tasks() -> Iterator[Callable[[], float]]:
        yield lambda: 1.0
        yield lambda: 1 / 0

    with Ahead(tasks()) as ahead:
        assert ahead.result(0) == 1.0
        with pytest.raises(ZeroDivisionError):
            ahead.result(1)


def test_there_is_no_result_after_the_last() -> None:
    """Whoever counts wrongly hears of it."""
    with Ahead(iter([lambda: 0])) as ahead:
        assert ahead.result(0) == 0
        with pytest.raises(IndexError):
            ahead.result(1)


def test_a_job_that_is_stopped_stops_there_too() -> None:
    """The thread sees the job's ``STOP``."""
    stop = Stop()
    token = STOP.set(stop)
    try:
        with Ahead(STOP.get().check for _ in range(3)) as ahead:
            ahead.result(0)
            stop.ask()
            with pytest.raises(Stopped):
                ahead.result(2)
    finally:
        STOP.reset(token)
