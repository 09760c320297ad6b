"""Attempts to break out of a worker: each must be refused by the system."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

REFUSALS = (PermissionError,)
"""EPERM of seccomp, EACCES of Landlock. That a thing is not there, or a peer not reached, is no refusal."""


@dataclass(frozen=True)
class Attempt:
    """One attempt: whether the system refused it, and what it answered."""

    name: str
    denied: bool
    detail: str


def attempts() -> Iterator[Attempt]:
    """All of them, each undone where it succeeds."""
    tries: dict[str, Callable[[], object]] = {
        "read a file": partial(_read, sys.executable),
        "write a file": _write,
        "list a folder": partial(os.listdir, "/"),
        "reach the network": _connect,
        "listen on the network": _listen,
        "run a program": partial(_spawn, sys.executable),
        "start a process": _fork,
        "signal the server": partial(os.kill, os.getppid(), 0),
    }
    for name, attempt in tries.items():
        yield _tried(name, attempt)


def _tried(name: str, attempt: Callable[[], object]) -> Attempt:
    try:
        attempt()
    except REFUSALS as error:
        return Attempt(name, True, error.strerror or type(error).__name__)
    except OSError as error:
        return Attempt(name, False, f"not refused, though it failed: {error.strerror}")
    return Attempt(name, False, "it succeeded")


def _read(path: str) -> None:
    Path(path).open("rb").close()


def _write() -> None:
    path = Path(f"/tmp/explainsvc-probe-{os.getpid()}")  # noqa: S108  # tempfile takes a refusal for a missing folder
    path.open("xb").close()
    path.unlink()


def _connect() -> None:
    with socket.socket() as peer:
        peer.settimeout(1.0)
        peer.connect(("127.0.0.1", 9))


def _listen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def _spawn(program: str) -> None:
    process = os.posix_spawn(program, [program, "-c", ""], {})
    os.waitpid(process, 0)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
