"""Memory that the server shares with each of its workers, so that large bytes beside a message pass through no pipe.

A mebibyte through a pipe is copied twice and wakes both sides on the way; here it is copied once. One half of the memory is for
what goes to the worker, the other for what comes from it, and one job at a time needs no more: whoever is sent a message takes
out of the window what belongs to it before anything else is asked. The size is sealed, for memory that a worker could cut off
would end the server when it reads there (memfd_create(2), SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from dataclasses import dataclass

WINDOW_BYTES = 2**22
"""What is larger goes through the pipe."""
LEAST = 2**16
"""What is smaller does, too: the pipe takes it at once."""


@dataclass(frozen=True)
class Window:
    """Half of a piece of shared memory."""

    memory: mmap.mmap
    start: int

    def put(self, parts: list[memoryview]) -> bool:
        """The bytes, if they are for the window; whether they were."""
        size = sum(map(len, parts))
        if not LEAST <= size <= WINDOW_BYTES:
            return False
        at = self.start
        for part in parts:
            self.memory[at : at + len(part)] = part
            at += len(part)
        return True

    def take(self, size: int) -> bytes:
        """A copy of so many of the bytes that were put there last."""
        return self.memory[self.start : self.start + min(size, WINDOW_BYTES)]


def shared() -> int:
    """The descriptor of new memory for two windows."""
    descriptor = os.memfd_create("windows", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 2 * WINDOW_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def windows(descriptor: int) -> tuple[Window, Window]:
    """Of shared memory: for what goes to the worker, and for what comes from it. The descriptor is closed."""
    memory = mmap.mmap(descriptor, 2 * WINDOW_BYTES)
    os.close(descriptor)
    return Window(memory, 0), Window(memory, WINDOW_BYTES)
