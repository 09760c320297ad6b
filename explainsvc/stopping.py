"""Stopping a job from another thread: what onnxruntime computes ends at its next node, and nothing further begins.

A worker sets ``STOP`` for each job; in a library nobody does, and every run goes to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import onnxruntime as ort


class Stopped(BaseException):
    """The job was asked to stop. No ``Exception``: whoever turns failures into results must not take it for one."""


class Stop:
    """Whether a job shall end, and the runs that it has under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[ort.RunOptions] = []
        self._asked = False

    def ask(self) -> None:
        """End the runs under way, and let none begin; from any thread."""
        with self._lock:
            self._asked = True
            for options in self._running:
                options.terminate = True

    def check(self) -> None:
        """A place where the job may end.

        Raises:
            Stopped: It shall.
        """
        if self._asked:
            raise Stopped

    @contextmanager
    def during(self, options: ort.RunOptions) -> Iterator[None]:
        """While a run with these options is under way.

        Raises:
            Stopped: Before it, or instead of the error that it ended in because it was stopped.
        """
        with self._lock:
            self.check()
            self._running.append(options)
        try:
            yield
        except Exception:
            self.check()
            raise
        finally:
            with self._lock:
                self._running.remove(options)


STOP: ContextVar[Stop] = ContextVar("stop", default=Stop())  # noqa: B039  # nobody asks the default to stop
