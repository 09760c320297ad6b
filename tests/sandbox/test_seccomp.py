"""The filter, run by a small machine of its own, for both architectures; that it binds is shown by doctor in a real worker."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from explainsvc.sandbox.seccomp import (
    ALLOW,
    ANY_BIT,
    ARGUMENTS,
    AT_LEAST,
    AUDIT,
    DENY,
    EQUAL,
    ERRNO,
    KILL_PROCESS,
    LOAD,
    NUMBER,
    RETURN,
    X32,
    instructions,
)  # fmt: skip
from explainsvc.sandbox.syscalls import ARCHITECTURES, DENIED, LOOKED_INTO, NEWER

PID = 4242
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"#define __NR_(\w+)\s+(\d+)"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None, cuda: bool = False) -> int:
    """What the kernel would do with a call, by the rules of classic BPF."""
    words = {NUMBER: number, 4: AUDIT[machine] if audit is None else audit}
    for position in range(6):
        value = arguments[position] if position < len(arguments) else 0
        words |= {ARGUMENTS + 8 * position: value & 0xFFFFFFFF, ARGUMENTS + 8 * position + 4: value >> 32}
    tests = {EQUAL: lambda a, k: a == k, AT_LEAST: lambda a, k: a >= k, ANY_BIT: lambda a, k: bool(a & k)}
    program, place, accumulator = list(instructions(machine, PID, cuda)), 0, 0
    while True:
        step = program[place]
        place += 1
        if step.code == RETURN:
            return step.k
        if step.code == LOAD:
            accumulator = words[step.k]
        else:
            place += step.yes if tests[step.code](accumulator, step.k) else step.no


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_denied_and_what_is_not(machine: str) -> None:
    """Every call of the table is denied, those that a computation makes are not, and arguments decide on the others."""
    column = ARCHITECTURES.index(machine)
    number = {name: numbers[column] for name, numbers in LOOKED_INTO.items()}
    denied = {call: numbers[column] for group in DENIED for call, numbers in group.calls.items() if numbers[column] >= 0}
    assert {verdict(machine, value) for value in denied.values()} == {DENY}
    harmless = set(range(NEWER)) - set(denied.values()) - set(number.values())
    assert {verdict(machine, value) for value in harmless} == {ALLOW}
    assert verdict(machine, number["clone"], 0x003D0F00) == ALLOW  # what pthread_create asks for
    assert verdict(machine, number["clone"], 0x01200011) == DENY  # what fork asks for
    assert verdict(machine, number["clone3"]) == verdict(machine, NEWER) == ERRNO | errno.ENOSYS
    assert [verdict(machine, number[name], pid) for name in ("kill", "tgkill") for pid in (PID, 1)] == [ALLOW, DENY] * 2
    assert verdict(machine, number["newfstatat"], 3, 1, 2, 0x1000) == ALLOW
    assert verdict(machine, number["newfstatat"], 3, 1, 2, 0) == DENY
    assert verdict(machine, number["prlimit64"], 0, 7, 0, 1) == ALLOW
    assert [verdict(machine, number["prlimit64"], 0, 7, new) for new in (1, 1 << 32)] == [DENY, DENY]


def test_other_conventions_are_no_way_around() -> None:
    """A call as i386 makes it ends the process, one of x32 is denied."""
    assert verdict("x86_64", 1, audit=0x40000003) == KILL_PROCESS
    assert verdict("x86_64", X32 + 1) == DENY


def test_beside_a_gpu_files_are_left_to_landlock() -> None:
    """The driver opens its devices and libraries; programs and sockets stay denied."""
    calls = {call: numbers[0] for group in DENIED for call, numbers in group.calls.items()}
    found = {name: verdict("x86_64", calls[name], cuda=True) for name in ("openat", "ioctl", "execve", "socket", "ptrace")}
    assert found == {"openat": ALLOW, "ioctl": ALLOW, "execve": DENY, "socket": DENY, "ptrace": DENY}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    """The table holds what the kernel's own headers say, where they are installed."""
    header, pattern = HEADERS[machine]
    if not header.is_file():
        pytest.skip("no kernel headers of this architecture")
    known = {name: int(value) for name, value in re.findall(pattern, header.read_text())}
    known |= {"newfstatat": known["fstatat"]} if "fstatat" in known else {}
    column = ARCHITECTURES.index(machine)
    table = {
        call: numbers[column] for group in (*DENIED, LOOKED_INTO) for call, numbers in getattr(group, "calls", group).items()
    }
    compared = {call: value for call, value in table.items() if value >= 0 and call in known}
    assert len(compared) > 100
    assert compared == {call: known[call] for call in compared}
