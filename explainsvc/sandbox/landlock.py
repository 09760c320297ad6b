"""Landlock: no file is opened, made or removed any more, no TCP port bound or connected, no other process signalled.

Linux 5.13 and later (``Documentation/userspace-api/landlock.rst``). What is open already stays usable. It binds the calling
thread and those that it starts, so it comes before any thread of onnxruntime.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from explainsvc.sandbox.kernel import KernelRefused, syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
PATH_BENEATH = 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""ABI → number of rights on files that it knows, each a bit from 0 on."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 15
NET_RIGHTS, NET_ABI = 0b11, 4
SCOPES, SCOPE_ABI = 0b11, 6
READING = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock that this kernel offers; 0 for none."""
    try:
        return syscall("landlock_create_ruleset", CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)
    except KernelRefused:
        return 0


def restrict(version: int, readable: Iterable[str] = (), devices: Iterable[str] = ()) -> None:
    """Denies from now on whatever is not listed; ``no_new_privs`` must be set.

    Args:
        version: Of Landlock, at least 1.
        readable: Folders of libraries that are loaded late; none without a GPU.
        devices: Device files that may be opened; none without a GPU.

    Raises:
        KernelRefused: With the kernel's reason.
    """
    rights = (1 << FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)]) - 1
    rules = _Ruleset(rights, NET_RIGHTS if version >= NET_ABI else 0, SCOPES if version >= SCOPE_ABI else 0)
    size = ctypes.c_size_t(24 if version >= SCOPE_ABI else 16 if version >= NET_ABI else 8)
    ruleset = syscall("landlock_create_ruleset", CREATE_RULESET, ctypes.byref(rules), size, 0)
    try:
        for allowed, paths in ((READING, readable), (DEVICE, devices)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        syscall("landlock_restrict_self", RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """One folder or file; those that are not there need no rule."""
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _PathBeneath(rights if os.path.isdir(path) else rights & ~READ_DIR, parent)
        syscall("landlock_add_rule", ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
