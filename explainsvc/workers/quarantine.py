"""Models that bring workers down again and again are refused for a while; others do not notice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from explainsvc.errors import ModelQuarantined


@dataclass(eq=False)
class Quarantine:
    """Strikes by model. ``clock`` counts seconds."""

    strikes: int
    window_seconds: float
    seconds: float
    clock: Callable[[], float] = time.monotonic
    struck: dict[str, deque[float]] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)

    def strike(self, model: str) -> None:
        """A worker died of the model."""
        now = self.clock()
        self._forget(now)
        times = self.struck.setdefault(model, deque())
        times.append(now)
        if len(times) >= self.strikes:
            self.until[model] = now + self.seconds
            del self.struck[model]

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
        self.until.pop(model, None)

    def release(self, model: str) -> None:
        """Forget what it did."""
        self.struck.pop(model, None)
        self.until.pop(model, None)

    def models(self) -> tuple[str, ...]:
        """Those in quarantine."""
        now = self.clock()
        return tuple(model for model, end in self.until.items() if end > now)

    def _forget(self, now: float) -> None:
        """Strikes before the window, and what is over, so that nothing adds up."""
        for times in self.struck.values():
            while times and times[0] <= now - self.window_seconds:
                times.popleft()
        self.struck = {model: times for model, times in self.struck.items() if times}
        self.until = {model: end for model, end in self.until.items() if end > now}
