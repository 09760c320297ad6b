"""glibc's allocator in the processes of a server: what a message has freed serves the next one.

By default each array of a mebibyte is mapped anew and given back, and every page of it is a fault: on a virtual machine these
cost several times what copying the message does. Blocks up to ``BLOCK`` come from the heap instead, and of the heap's free end
``KEPT`` stay. A program that embeds the library keeps its own settings.
"""

from __future__ import annotations

import ctypes
import gc

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""Of mallopt(3)."""
BLOCK, KEPT, ARENAS = 2**25, 2**26, 2
"""Bytes of the largest block from the heap, which is glibc's own maximum; bytes kept of each arena; arenas for all threads."""


def keep_freed_memory() -> None:
    """For this process, from now on; nothing where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    for option, value in ((M_MMAP_THRESHOLD, BLOCK), (M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, 2**22), (M_ARENA_MAX, ARENAS)):
        mallopt(option, value)


def freeze_what_is_loaded() -> None:
    """What is alive now will be alive at the end: the garbage collector need not look at it again, which takes it long."""
    gc.collect()
    gc.freeze()
