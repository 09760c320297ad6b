"""Models that bring workers down again and again are refused for a while; others do not notice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from explainsvc.errors import ModelQuarantined


class Book(Protocol):
    """Where strikes and quarantines are written down, for the next server."""

    def read(self) -> Mapping[str, tuple[Sequence[float], float]]:
        """Model → its strikes, and the end of its quarantine; 0 where it is in none."""

    def write(self, model: str, strikes: Sequence[float], until: float) -> None:
        """What holds for a model from now on."""


class Unwritten:
    """A book of no pages."""

    def read(self) -> Mapping[str, tuple[Sequence[float], float]]:
        """See Book."""
        return {}

    def write(self, model: str, strikes: Sequence[float], until: float) -> None:
        """See Book."""


UNWRITTEN = Unwritten()


@dataclass(eq=False)
class Quarantine:
    """Strikes by model. ``clock`` counts seconds as the next server's will: since 1970."""

    strikes: int
    window_seconds: float
    seconds: float
    book: Book = UNWRITTEN
    clock: Callable[[], float] = time.time
    struck: dict[str, deque[float]] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for model, (strikes, until) in self.book.read().items():
            self.struck[model] = deque(strikes)
            self.until[model] = until
        self._forget(self.clock())

    def strike(self, model: str) -> None:
        """A worker died of the model."""
        now = self.clock()
        self._forget(now)
        times = self.struck.setdefault(model, deque())
        times.append(now)
        if len(times) >= self.strikes:
            self.until[model] = now + self.seconds
            del self.struck[model]
        self._write(model)

    def check(self, model: str) -> None:
        """Refuse a model that is in quarantine.

        Raises:
            ModelQuarantined: Says for how long.
        """
        left = self.until.get(model, 0.0) - self.clock()
        if left > 0:
            raise ModelQuarantined(
                f"the model brought down {self.strikes} worker processes within {self.window_seconds:g} seconds",
                where=model,
                expected="a model whose computations end within the memory and time of a worker",
                to_do=f"It is refused for another {left:.0f} seconds; an administrator frees it by uploading it again",
            )

    def release(self, model: str) -> None:
        """Forget what it did."""
        if model in self.struck or model in self.until:
            self.struck.pop(model, None)
            self.until.pop(model, None)
            self._write(model)

    def models(self) -> tuple[str, ...]:
        """Those in quarantine."""
        now = self.clock()
        return tuple(model for model, end in self.until.items() if end > now)

    def _forget(self, now: float) -> None:
        """Strikes before the window, and what is over, so that nothing adds up."""
        known = {*self.struck, *self.until}
        for times in self.struck.values():
            while times and times[0] <= now - self.window_seconds:
                times.popleft()
        self.struck = {model: times for model, times in self.struck.items() if times}
        self.until = {model: end for model, end in self.until.items() if end > now}
        for model in known - self.struck.keys() - self.until.keys():
            self._write(model)

    def _write(self, model: str) -> None:
        self.book.write(model, tuple(self.struck.get(model, ())), self.until.get(model, 0.0))
