"""Results in a row: while one is looked at, the next is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Tasks, one at a time and in their order, in a thread of its own.

    onnxruntime and numpy let other threads work while they compute; what stops the job (``STOP``) is asked there, too. Nothing
    begins before the first result is asked for: of an audit that goes on, everything may be finished.
    """

    def __init__(self, tasks: Iterator[Callable[[], T]]) -> None:
        self._tasks = enumerate(tasks)
        self._thread = ThreadPoolExecutor(1)
        self._begun: tuple[int, Future[T]] | None = None

    def result(self, number: int) -> T:
        """Of the task of this number; numbers rise from call to call. Tasks that are left out are not done.

        Raises:
            IndexError: There are fewer tasks.
        """
        begun = self._begun
        if begun is None or begun[0] != number:
            begun = self._begin(number)
        value = begun[1].result()
        self._begun = self._begin(number + 1)
        return value

    def _begin(self, number: int) -> tuple[int, Future[T]]:
        return number, self._thread.submit(copy_context().run, self._compute, number)

    def _compute(self, number: int) -> T:
        for at, task in self._tasks:
            if at == number:
                return task()
        raise IndexError(number)

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Waits for what is under way."""
        self._thread.shutdown(cancel_futures=True)
