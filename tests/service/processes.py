"""Servers as processes of their own, and worker processes as the kernel sees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def server_process(store: Path, *options: str, address: str = "127.0.0.1:0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server with one worker, and its address; killed at the end if it still runs."""
    python_path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "explainsvc.service.server", "--address", address, "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--worker-threads", "1", "--spare-workers", "0", "--store", str(store), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": python_path},
    )
    with server:
        try:
            assert server.stdout is not None
            yield server, server.stdout.readline().removeprefix("listening on ").strip()
        finally:
            server.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers() -> dict[int, float]:
    """Process id → CPU seconds of every worker of the servers in this process: the children of their fork servers."""
    stats = _stats()
    servers = {pid for pid, stat in stats.items() if int(stat[1]) == os.getpid() and "explainsvc.forkserver" in _command(pid)}
    return {pid: (int(stat[11]) + int(stat[12])) / TICKS for pid, stat in stats.items() if int(stat[1]) in servers}


def runs(pid: int) -> bool:
    """Whether a process runs: where nobody waits for it, what has ended stays as a zombie, which has no command."""
    return bool(_command(pid))


def _stats() -> dict[int, list[str]]:
    """Of every process, the fields of its ``stat`` behind the name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                found[int(folder.name)] = stat
    return found


def _command(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def busy_worker(seconds: float = 20.0) -> int:
    """The worker that computes now, as soon as one has for a while."""
    before, end = workers(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        for pid, used in workers().items():
            if pid in before and used - before[pid] > 0.3:
                return pid
    raise AssertionError("no worker became busy")


def resident_bytes() -> int:
    """Of this process, which holds the server, and of all its workers."""
    pages = 0
    for pid in (os.getpid(), *workers()):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")
