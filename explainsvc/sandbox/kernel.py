"""The few system calls that have no function in Python's standard library."""

from __future__ import annotations

import ctypes
import os
import platform

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
LINUX = platform.system() == "Linux"


class KernelRefused(OSError):
    """The kernel does not offer this, or refuses it here."""


def prctl(option: int, argument: int) -> None:
    """``prctl(2)`` with one argument.

    Raises:
        KernelRefused: With the kernel's reason.
    """
    _checked("prctl", _libc().prctl(option, argument, 0, 0, 0))


def syscall(name: str, number: int, *arguments: object) -> int:
    """``syscall(2)``; ints must fit a C int, others be ctypes values.

    Raises:
        KernelRefused: With the kernel's reason.
    """
    return _checked(name, _libc().syscall(number, *arguments))


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise KernelRefused(number, f"{name}: {os.strerror(number)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
