"""One worker process as the server sees it: started by exec, spoken to over pipes, given files as open descriptors."""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from explainpb.worker.v1.worker_pb2 import Cancel, Job, Reply
from explainsvc import frames
from explainsvc.frames import Receiver
from explainsvc.workers.limits import Limits

PIPE_BUFFER = 2**20
FILES_AT_ONCE = 32
"""Descriptors in one message: the kernel takes 253, and a worker may have 256 open."""
ENVIRONMENT = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "PYTHON", "VIRTUAL_ENV", "OMP_", "OPENBLAS_", "MKL_",
    "ORT_", "CUDA_", "NVIDIA_", "EXPLAINSVC_LIMIT_", "EXPLAINSVC_SESSION_CACHE_BYTES", "EXPLAINSVC_PROVIDERS",
)  # fmt: skip
"""What variables that a worker is given start with: those of the server may hold credentials."""
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
UTIME, STIME, RSS = 11, 12, 1
"""Fields of ``/proc/PID/stat`` behind the name, and of ``statm`` (proc(5))."""


@dataclass(eq=False)
class Worker:
    """One process, the models that it holds, and why it was ended where the pool ended it."""

    process: asyncio.subprocess.Process
    files: socket.socket
    replies: Receiver[Reply]
    device: str = ""
    held: frozenset[str] = frozenset()
    ended: str = ""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def send(self, job: Job) -> None:
        """Give it a job, numbered."""
        assert self.process.stdin is not None
        job.number = next(self.numbers)
        self.process.stdin.write(frames.framed(job))
        await self.process.stdin.drain()

    async def receive(self) -> Reply:
        """Its next reply; IncompleteReadError when it is dead."""
        reply = await self.replies.receive()
        if reply.held:
            self.held = frozenset(reply.held)
        return reply

    async def send_files(self, folder: Path) -> None:
        """The files of a folder as open descriptors; the worker could not open them itself."""
        await asyncio.to_thread(_send_files, self.files, folder)

    async def cancel(self, number: int) -> None:
        """Ask it to stop a job; the last reply to that still comes."""
        assert self.process.stdin is not None
        self.process.stdin.write(frames.framed(Job(number=number, cancel=Cancel())))
        await self.process.stdin.drain()

    def alive(self) -> bool:
        """Whether the process runs. asyncio hears of its end a moment late, so the system is asked, and nothing is reaped."""
        if self.process.returncode is not None:
            return False
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def kill(self, reason: str = "") -> None:
        """End it now; its keeper starts the next one.

        Not by ``Process.kill``, which polls: that reaps one that has just died, and asyncio would say 255 of whatever it died of.
        """
        self.ended = self.ended or reason
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def death(self) -> int:
        """Its exit code, or minus the signal that it died of."""
        code = await self.process.wait()
        self.files.close()
        return code

    def resident_bytes(self) -> int:
        """Its resident memory now; 0 where the system does not tell."""
        return int(_proc(self.process.pid, "statm")[RSS]) * PAGE

    def allow_cpu(self, seconds: float) -> None:
        """Let it use so much CPU time more; the system ends it by SIGXCPU after that."""
        fields = _proc(self.process.pid, "stat")
        used = (int(fields[UTIME]) + int(fields[STIME])) / TICK
        with suppress(OSError):  # it has just died, which its next reply will say
            hard = resource.prlimit(self.process.pid, resource.RLIMIT_CPU)[1]
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))


def _proc(pid: int, name: str) -> list[str]:
    """The fields of a file of a process, those of ``stat`` from behind its name on; zeros when it has just died."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * (STIME + 1)


def death_in_words(code: int) -> str:
    """How a process died."""
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _send_files(channel: socket.socket, folder: Path) -> None:
    """Names as JSON with the descriptors, message by message; an empty list ends them, null says that there are none."""
    try:
        paths = sorted(folder.iterdir())
        for start in range(0, len(paths), FILES_AT_ONCE):
            _send_some(channel, paths[start : start + FILES_AT_ONCE])
    except FileNotFoundError:  # deleted since the request came
        channel.send(b"null")
    else:
        channel.send(b"[]")


def _send_some(channel: socket.socket, paths: Sequence[Path]) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in paths]
        names = json.dumps([path.name for path in paths]).encode()
        socket.send_fds(channel, [names], [file.fileno() for file in files])


async def started(limits: Limits, device: str = "") -> Worker:
    """A new worker that has said that it is ready."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        ours.settimeout(limits.job_seconds)
        process = await _executed(limits, its.fileno(), device)
    assert process.stdout is not None, "it is a pipe"
    worker = Worker(process, ours, Receiver(process.stdout, Reply), device)
    try:
        async with asyncio.timeout(limits.start_seconds):
            await worker.receive()
    except BaseException:
        worker.kill()
        await worker.death()
        raise
    return worker


async def _executed(limits: Limits, files: int, device: str) -> asyncio.subprocess.Process:
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    kept = {name: text for name, text in os.environ.items() if name.startswith(ENVIRONMENT)}
    environment = kept | {"PYTHONPATH": path} | limits.environment(device)
    arguments = [limits.memory_bytes, limits.sandbox, files, limits.cache_bytes]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "explainsvc.worker", *map(str, arguments),
        stdin=pipe, stdout=pipe, env=environment, limit=PIPE_BUFFER, pass_fds=[files],
    )  # fmt: skip
