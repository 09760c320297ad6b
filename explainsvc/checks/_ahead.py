"""Results in a row: while one is looked at, the next are computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from types import TracebackType
from typing import Generic, TypeVar

from explainsvc.lanes import Lane, alone, lane

T = TypeVar("T")
Place = tuple[int, int]
"""Of a task: the number of its step, and that of the task in it."""


class Ahead(Generic[T]):
    """Steps of tasks, computed in lanes: a step's tasks one after the other in one thread, the next step beside it.

    onnxruntime and numpy let other threads work while they compute; what stops the job (``STOP``) is asked there, too. Nothing
    begins before the first result is asked for: of an audit that goes on, everything may be finished.

    Args:
        steps: Each step's tasks, all of them in their order; made when a lane is free for it, one step at a time.
        count: How many there are: beside the last one another lane is idle most of the time.
        lanes: What each lane's sessions are made with.
        room: Results that may wait until they are asked for.
    """

    def __init__(self, steps: Iterator[Sequence[Callable[[], T]]], count: int, lanes: Sequence[Lane], room: int) -> None:
        self._steps, self._count, self._lanes, self._room = steps, count, lanes, room
        self._drawn = 0
        self._drawing = threading.Lock()
        self._changed = threading.Condition()
        self._found: dict[Place, T] = {}
        self._failed: dict[Place, BaseException] = {}
        self._asked: Place = (0, 0)
        self._threads: list[threading.Thread] = []
        self._at_work = 0
        self._closed = False

    def result(self, place: Place) -> T:
        """Of the task at this place; places rise from call to call. Tasks that are left out are not done.

        Raises:
            IndexError: There is no such task.
        """
        with self._changed:
            self._asked = place
            self._found = {at: value for at, value in self._found.items() if at >= place}
            self._changed.notify_all()
            if not self._threads:
                self._begin()
            self._changed.wait_for(lambda: place in self._found or self._failure(place) or not self._at_work)
            if place in self._found:
                return self._found[place]
            raise self._failure(place) or IndexError(place)

    def _failure(self, place: Place) -> BaseException | None:
        """The first that this task comes after, or is; those before it are still done."""
        first = min(self._failed, default=place)
        return self._failed.get(first) if first <= place else None

    def _begin(self) -> None:
        for own in self._lanes:
            self._threads.append(threading.Thread(target=copy_context().run, args=(self._work, own)))
        self._at_work = len(self._threads)
        for thread in self._threads:
            thread.start()

    def _work(self, own: Lane) -> None:
        """One lane: step after step, until there is none."""
        try:
            with lane(own):
                while (step := self._next()) is not None and self._step(*step):
                    pass
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()

    def _next(self) -> tuple[int, Sequence[Callable[[], T]]] | None:
        with self._drawing:
            number = self._drawn
            try:
                tasks = None if self._closed or self._failed else next(self._steps, None)
            except BaseException as error:  # noqa: BLE001  (raised where the step's first result is asked for)
                self._fail((number, 0), error)
                return None
            self._drawn += 1
            return None if tasks is None else (number, tasks)

    def _step(self, number: int, tasks: Sequence[Callable[[], T]]) -> bool:
        """Whether the lane goes on."""
        with alone() if number == self._count - 1 else nullcontext():
            return all(self._do((number, n), task) for n, task in enumerate(tasks))

    def _do(self, place: Place, task: Callable[[], T]) -> bool:
        """Whether the lane goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or place <= self._asked or self._waiting() < self._room)
            if self._closed:
                return False
            if place < self._asked:
                return True
        try:
            value = task()
        except BaseException as error:  # noqa: BLE001  (raised where the result is asked for)
            self._fail(place, error)
            return False
        with self._changed:
            self._found[place] = value
            self._changed.notify_all()
        return True

    def _waiting(self) -> int:
        return sum(place > self._asked for place in self._found)

    def _fail(self, place: Place, error: BaseException) -> None:
        """Raised where the result is asked for."""
        with self._changed:
            self._failed[place] = error

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Waits for what is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._found.clear()
