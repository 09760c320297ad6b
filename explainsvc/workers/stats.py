"""What the pool tells of itself: events to a listener as they happen, and a snapshot on request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from explainpb.worker.v1.worker_pb2 import Span

RESTARTS = ("crash", "cpu", "timeout", "cancel", "memory", "rss")
"""Why a worker was replaced: it died of itself; of its CPU time; it did not end at the end of its time, or when its caller had
gone; it ran out of memory; it kept too much of it."""


class Listener(Protocol):
    """Hears events of the pool, in its event loop; must return at once."""

    def waited(self, seconds: float) -> None:
        """A request was given a worker after so long."""

    def batched(self, requests: int) -> None:
        """So many requests are computed as one; 1 for one alone."""

    def restarted(self, reason: str) -> None:
        """A worker is replaced; one of ``RESTARTS``."""


class Nobody:
    """A listener that does nothing."""

    def waited(self, seconds: float) -> None:
        """See Listener."""

    def batched(self, requests: int) -> None:
        """See Listener."""

    def restarted(self, reason: str) -> None:
        """See Listener."""


def nobody_asks(_spans: Iterable[Span]) -> None:
    """Does nothing with the time that a job took."""


@dataclass(frozen=True)
class PoolStats:
    """The pool at one moment.

    Attributes:
        workers: That compute or may.
        idle: Of these.
        spares: Warm, and ready to take the place of one that dies.
        waiting: Requests in the line.
        restarts: Reason → how often, since the server started.
        loaded: Models in the memory of workers, each counted as often as it is held.
        quarantined: Models that are refused.
    """

    workers: int
    idle: int
    spares: int
    waiting: int
    restarts: Mapping[str, int]
    loaded: int
    quarantined: tuple[str, ...]
