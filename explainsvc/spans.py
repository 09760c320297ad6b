"""Where the time of a job goes: loading a model, building a graph, making a session, running it. Noted where somebody asks.

What happens inside a span is part of it, and a span that follows one of its own name goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

MOST = 256
"""Spans of one job that are noted."""


@dataclass
class Span:
    """From when to when, in nanoseconds since 1970, and how often it was entered meanwhile."""

    name: str
    start: int
    end: int
    times: int = 1


@dataclass
class Spans:
    """Those of one job, in their order."""

    found: list[Span] = field(default_factory=list)
    inside: bool = False

    def add(self, span: Span) -> None:
        """One that has ended."""
        last = self.found[-1] if self.found else None
        if last is not None and last.name == span.name:
            last.end = span.end
            last.times += 1
        elif len(self.found) < MOST:
            self.found.append(span)


SPANS: ContextVar[Spans | None] = ContextVar("spans", default=None)


@contextmanager
def span(name: str) -> Iterator[None]:
    """The body is a span of this name, unless it is inside one."""
    spans = SPANS.get()
    if spans is None or spans.inside:
        yield
        return
    start, spans.inside = time.time_ns(), True
    try:
        yield
    finally:
        spans.inside = False
        spans.add(Span(name, start, time.time_ns()))
