"""Sessions that are kept, in a cache bounded in bytes."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from explainsvc.arena import give_back
from explainsvc.lanes import LANE, lane
from explainsvc.runtime import Session

CACHE_BYTES = int(os.environ.get("EXPLAINSVC_SESSION_CACHE_BYTES", str(2 * 2**30)))
"""Memory of the sessions that are kept, as estimated by HELD."""


class SessionCache:
    """Sessions by key, least recently used dropped first once their bytes exceed the budget.

    Args:
        budget: In bytes.
        passing: They go with the lane that made them; others stay, and are made as they are without lanes.
    """

    def __init__(self, budget: int = CACHE_BYTES, passing: bool = False) -> None:
        self._budget, self._passing = budget, passing
        self._sessions: OrderedDict[Hashable, Session] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Session]) -> Session:
        """The session under ``key``, made where there is none."""
        with self._lock:
            if key in self._sessions:
                self._sessions.move_to_end(key)
                return self._sessions[key]
        with lane(LANE.get() if self._passing else None):
            session = make()
        with self._lock:
            self._sessions[key] = session
            dropped = self._drop()
        if dropped:
            _give_back_freed()
        return session

    def _drop(self) -> bool:
        """The oldest sessions over the budget go; the newest stays, however large."""
        before = len(self._sessions)
        while len(self._sessions) > 1 and sum(s.held_bytes for s in self._sessions.values()) > self._budget:
            self._sessions.popitem(last=False)
        return len(self._sessions) < before


def _give_back_freed() -> None:
    """Freed memory goes back to the system. glibc keeps it for a while yet: two thirds of what six dropped sessions held."""
    give_back()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


SESSIONS = SessionCache()
