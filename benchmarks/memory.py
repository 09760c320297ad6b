"""What a process holds: resident memory now, and its peak since it was last forgotten (Linux, glibc)."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset() -> float:
    """Forgets the peak; the megabytes that are resident now, what was freed given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    FORGET.write_text("5")  # proc(5): resets VmHWM
    return _megabytes("VmRSS")


def peak() -> float:
    """The largest resident set since :func:`reset`, in megabytes (10⁶ bytes)."""
    return _megabytes("VmHWM")


def _megabytes(name: str) -> float:
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024 / 1e6
