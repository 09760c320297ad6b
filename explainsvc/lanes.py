"""Work in lanes: sessions that come and go, side by side, each with its share of the processor.

Two runs with one thread each take less time than two with both threads in a row: nothing waits for the slower half of a kernel,
and what is done between runs has the other lane to fill the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import onnxruntime as ort

T = TypeVar("T")

MOST = 2
"""Each lane holds the activations of a run."""


@dataclass(frozen=True)
class Lane:
    """How sessions are made in one.

    Attributes:
        threads: Of a session.
        alone: Of one that the other lanes wait for.
    """

    threads: int
    alone: int

    def enter(self, options: ort.SessionOptions) -> None:
        """A session with these options runs in the lane."""
        options.intra_op_num_threads = self.threads


LANE: ContextVar[Lane | None] = ContextVar("lane", default=None)


def alone() -> AbstractContextManager[None]:
    """Sessions are made for work that the other lanes wait for."""
    own = LANE.get()
    return lane(own and replace(own, threads=own.alone))


@contextmanager
def lane(found: Lane | None) -> Iterator[None]:
    """Sessions are made in this lane; None: by themselves, as they are without lanes."""
    token = LANE.set(found)
    try:
        yield
    finally:
        LANE.reset(token)


def once(make: Callable[[], T]) -> Callable[[], T]:
    """What is made when it is first asked for; another lane that asks meanwhile waits for it."""
    making, kept = threading.Lock(), cache(make)

    def found() -> T:
        with making:
            return kept()

    return found
