"""seccomp: a classic BPF program that looks at every system call of the process, all its threads included.

What :mod:`explainsvc.sandbox.syscalls` denies is answered with EPERM, so that libraries take it for a missing permission and
go on; a call in the convention of another architecture ends the process. (``Documentation/userspace-api/seccomp_filter.rst``)
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from explainsvc.sandbox.kernel import KernelRefused, syscall
from explainsvc.sandbox.syscalls import ARCHITECTURES, DENIED, LOOKED_INTO, NEWER

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_RET|K."""
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in ``struct seccomp_data``; an argument takes 8 bytes, its lower half first."""
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""Numbers from here on are of the x32 convention; no other architecture has so many."""
SET_MODE_FILTER, ALL_THREADS = 1, 1
CLONE_THREAD, AT_EMPTY_PATH = 0x00010000, 0x1000
DENY = ERRNO | errno.EPERM


@dataclass(frozen=True)
class Instruction:
    """One instruction of classic BPF; ``yes`` and ``no`` are how many of those that follow are skipped."""

    code: int
    k: int
    yes: int = 0
    no: int = 0


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter)))


def install(cuda: bool = False) -> None:
    """Binds all threads of this process from now on; ``no_new_privs`` must be set.

    Args:
        cuda: Whether the process drives a GPU: opening files is then left to Landlock, and devices take ioctl.

    Raises:
        KernelRefused: With the kernel's reason; on an architecture without a table too.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise KernelRefused(errno.ENOSYS, f"no table of system calls for {machine}")
    program = list(instructions(machine, os.getpid(), cuda))
    filters = (_Filter * len(program))(*(_Filter(i.code, i.yes, i.no, i.k) for i in program))
    fprog = _Program(len(program), filters)
    number = LOOKED_INTO["seccomp"][ARCHITECTURES.index(machine)]
    stranger = syscall("seccomp", number, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(fprog))
    if stranger:  # the id of a thread that could not be bound
        raise KernelRefused(errno.ESRCH, f"thread {stranger} has a filter of its own")


def instructions(machine: str, pid: int, cuda: bool) -> Iterator[Instruction]:
    """The program for a process on a machine."""
    column = ARCHITECTURES.index(machine)
    yield Instruction(LOAD, ARCHITECTURE)
    yield Instruction(EQUAL, AUDIT[machine], yes=1)
    yield Instruction(RETURN, KILL_PROCESS)
    yield Instruction(LOAD, NUMBER)
    yield from _when(Instruction(AT_LEAST, X32), DENY)
    yield from _when(Instruction(AT_LEAST, NEWER), ERRNO | errno.ENOSYS)
    for group in DENIED:
        for numbers in group.calls.values() if group.cuda or not cuda else ():
            if numbers[column] >= 0:
                yield from _when(Instruction(EQUAL, numbers[column]), DENY)
    yield from _looked_into(column, pid, cuda)
    yield Instruction(RETURN, ALLOW)


def _when(test: Instruction, action: int) -> Iterator[Instruction]:
    """The action where the number passes the test."""
    yield Instruction(test.code, test.k, no=1)
    yield Instruction(RETURN, action)


def _looked_into(column: int, pid: int, cuda: bool) -> Iterator[Instruction]:
    """Threads but no processes; signals to itself alone; fstat but no stat; limits read but not set."""
    number = {name: numbers[column] for name, numbers in LOOKED_INTO.items()}
    yield from _when(
        Instruction(EQUAL, number["clone3"]), ERRNO | errno.ENOSYS
    )  # its flags are out of reach: clone is tried next
    yield from _when(Instruction(EQUAL, number["seccomp"]), DENY)
    yield from _unless(number["clone"], 0, Instruction(ANY_BIT, CLONE_THREAD))
    yield from _unless(number["kill"], 0, Instruction(EQUAL, pid))
    yield from _unless(number["tgkill"], 0, Instruction(EQUAL, pid))
    if not cuda:
        yield from _unless(number["newfstatat"], 3, Instruction(ANY_BIT, AT_EMPTY_PATH))
    yield Instruction(EQUAL, number["prlimit64"], no=6)
    for half in (0, 4):  # the address of the new limits: none
        yield Instruction(LOAD, ARGUMENTS + 8 * 2 + half)
        yield Instruction(EQUAL, 0, yes=1)
        yield Instruction(RETURN, DENY)


def _unless(number: int, argument: int, test: Instruction) -> Iterator[Instruction]:
    """Denied unless an argument passes a test; then allowed. Other calls pass by."""
    yield Instruction(EQUAL, number, no=4)
    yield Instruction(LOAD, ARGUMENTS + 8 * argument)
    yield Instruction(test.code, test.k, yes=1)
    yield Instruction(RETURN, DENY)
    yield Instruction(RETURN, ALLOW)
