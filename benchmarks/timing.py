"""Timing contestants side by side: A B C A B C …, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

PAUSE = 0.02
"""Seconds before each measurement: idle threads of the contestant before spin for a while and would take a core."""
FEWEST, MOST = 3, 30
Timed = Callable[[], float]
"""Runs a contestant once and says how many seconds that took: a peer takes them in its own process."""


@dataclass(frozen=True)
class Times:
    """Seconds of each contestant, one entry a round."""

    seconds: dict[str, list[float]]

    @property
    def rounds(self) -> int:
        """How many there were."""
        return len(next(iter(self.seconds.values())))

    def typical(self, name: str) -> float:
        """Median seconds."""
        return median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over the rounds of the ratio within a round."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def best_ratio(self, name: str, to: str) -> float:
        """The fastest run of one over the fastest run of the other: what a quiet machine would show."""
        return min(self.seconds[name]) / min(self.seconds[to])


def timed(run: Callable[[], object]) -> Timed:
    """A contestant in this process."""

    def seconds() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return seconds


def rotate(contestants: Mapping[str, Timed], budget: float, fewest: int = FEWEST) -> Times:
    """Runs all contestants in turn for about ``budget`` seconds: one warm-up round, then ``fewest`` timed ones or more."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    rounds, end = 0, time.perf_counter() + budget
    while rounds < fewest or (rounds < MOST and time.perf_counter() < end):
        for name, run in contestants.items():
            time.sleep(PAUSE)
            seconds[name].append(run())
        rounds += 1
    return Times(seconds)
