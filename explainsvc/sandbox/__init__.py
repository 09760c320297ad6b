"""Confinement of a worker process: limits, Landlock, seccomp; see docs/sandbox.md."""

from __future__ import annotations

import glob
import resource
import signal
import sys
import sysconfig
from dataclasses import dataclass
from enum import StrEnum

from explainsvc.sandbox import landlock, seccomp
from explainsvc.sandbox.kernel import LINUX, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, KernelRefused, prctl

OPEN_FILES = 256


class Mode(StrEnum):
    """How much a worker insists on: all of it, what the kernel offers, or limits alone."""

    REQUIRED = "required"
    BEST_EFFORT = "best_effort"
    OFF = "off"


@dataclass(frozen=True)
class Confinement:
    """What is in force, and what is not and why, in words."""

    works: tuple[str, ...]
    missing: tuple[str, ...]


def limit(memory_bytes: int) -> None:
    """Limits that hold from now on, and an end when the server ends.

    Args:
        memory_bytes: Of address space; 0: no limit.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if memory_bytes > 0:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server drains, and then kills
        signal.signal(number, signal.SIG_IGN)
    if LINUX:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_NO_NEW_PRIVS, 1)


def confine(mode: Mode, cuda: bool = False) -> Confinement:
    """No files, no network, no programs from now on; whatever is imported later is not found.

    Args:
        mode: See there.
        cuda: Whether the process drives a GPU, whose libraries and devices then stay open.

    Raises:
        KernelRefused: The mode requires what the kernel does not offer.
    """
    if mode == Mode.OFF:
        return Confinement((), ("the sandbox is switched off",))
    works, missing = [], []
    for name, attempt in (("Landlock", _landlock), ("seccomp", seccomp.install)):
        try:
            attempt(cuda)
            works.append(name)
        except KernelRefused as error:
            if mode == Mode.REQUIRED:
                raise
            missing.append(f"{name}: {error.strerror}")
    return Confinement(tuple(works), tuple(missing))


def _landlock(cuda: bool) -> None:
    version = landlock.abi()
    if version == 0:
        raise KernelRefused(0, "this kernel does not offer it")
    landlock.restrict(version, *(_for_cuda() if cuda else ()))


def _for_cuda() -> tuple[list[str], list[str]]:
    """Where CUDA's libraries lie, and its devices: the driver opens both when the first session is made, and later."""
    libraries = {sys.prefix, sys.base_prefix, sysconfig.get_paths()["platlib"], "/usr", "/lib", "/lib64", "/proc", "/sys"}
    return sorted(libraries), ["/dev/null", *glob.glob("/dev/nvidia*")]
