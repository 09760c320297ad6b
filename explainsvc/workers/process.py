"""One worker process as the server sees it: forked by the fork server, spoken to over pipes, given files as open descriptors."""

from __future__ import annotations

import asyncio
import json
import math
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc import frames, windows
from explainsvc.errors import ExplainsvcError
from explainsvc.frames import NUMBER, Parts, Receiver, Sender
from explainsvc.workers.forking import Child, Forking

FILES_AT_ONCE = 32
"""Descriptors in one message: the kernel takes 253, and a worker may have 256 open."""
PAGE, RSS, LONGEST_STATM = os.sysconf("SC_PAGE_SIZE"), 1, 256
"""The field of ``/proc/PID/statm`` that counts pages (proc(5)), and bytes of the whole: seven numbers."""
CPUCLOCK_SCHED = 2
"""The CPU time of a process: the clock that clock_getcpuclockid(3) computes from its id."""


@dataclass(eq=False)
class Worker:
    """One process, the models that it holds, and why it was ended where the pool ended it."""

    child: Child
    files: socket.socket
    jobs: Sender
    cancellations: int
    replies: Receiver[Reply]
    device: str = ""
    held: frozenset[str] = frozenset()
    ended: str = ""
    statm: int = -1
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.child.pid

    def give(self, job: Job, beside: bytes) -> bool:
        """Give it a job, numbered, as far as its pipe takes it now; whether that was all. ``jobs.sent`` sends the rest."""
        job.number = next(self.numbers)
        return self.jobs.put(job, beside)

    async def receive(self) -> tuple[Reply, Parts]:
        """Its next reply, and what lies beside it; IncompleteReadError when it is dead."""
        reply, beside = await self.replies.receive()
        if reply.held:
            self.held = frozenset(reply.held)
        return reply, beside

    async def send_files(self, folder: Path) -> None:
        """The files of a folder as open descriptors; the worker could not open them itself."""
        await asyncio.to_thread(_send_files, self.files, folder)

    def cancel(self, number: int) -> None:
        """Ask it to stop a job; the last reply to that still comes. ConnectionError when it is dead."""
        if self.jobs.closed:
            raise BrokenPipeError
        os.write(self.cancellations, NUMBER.pack(number))

    def alive(self) -> bool:
        """Whether the process runs. The event loop hears of its end a moment late, so the system is asked."""
        if self.child.death.done():
            return False
        poll = select.poll()
        poll.register(self.child.pidfd, select.POLLIN)
        return not poll.poll(0)

    def kill(self, reason: str = "") -> None:
        """End it now; its keeper starts the next one."""
        self.ended = self.ended or reason
        if not self.child.death.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)

    async def death(self) -> int:
        """Its exit code, or minus the signal that it died of."""
        code = await asyncio.shield(self.child.death)
        if not self.jobs.closed:
            os.close(self.child.pidfd)
            os.close(self.cancellations)
            if self.statm >= 0:
                os.close(self.statm)
            _close(self.jobs, self.replies, self.files)
        return code

    def resident_bytes(self) -> int:
        """Its resident memory now; 0 where it has just died."""
        if self.jobs.closed:
            return 0
        with suppress(OSError):
            if self.statm < 0:  # opened once, for it is read after every job
                self.statm = os.open(f"/proc/{self.pid}/statm", os.O_RDONLY)
            return int(os.pread(self.statm, LONGEST_STATM, 0).split()[RSS]) * PAGE
        return 0

    def allow_cpu(self, seconds: float) -> None:
        """Let it use so much CPU time more; the system ends it by SIGXCPU after that."""
        with suppress(OSError):  # it has just died, which its next reply will say
            used = time.clock_gettime(~self.pid << 3 | CPUCLOCK_SCHED)
            hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)[1]
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (math.ceil(used + seconds), hard))


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


async def started(forking: Forking, device: str = "") -> Worker:
    """A new worker that has said that it is ready."""
    limits = forking.limits
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(limits.job_seconds)
    jobs, replies, cancellations = frames.wide_pipe(), frames.wide_pipe(), os.pipe()
    memory = windows.shared()
    requests, values = windows.windows(os.dup(memory))
    sender, receiver = Sender(jobs[1], requests), Receiver(replies[0], Reply, values)
    settings = {"memory_bytes": limits.memory_bytes, "sandbox": limits.sandbox, "cache_bytes": limits.cache_bytes}
    settings["spans"] = limits.spans
    order = {"environment": limits.environment(device), "settings": settings}
    try:
        child = await forking.born(order, (jobs[0], replies[1], its.fileno(), cancellations[0], memory))
    except BaseException:
        os.close(cancellations[1])
        _close(sender, receiver, ours)
        raise
    finally:
        _close(its)
        for given in (jobs[0], replies[1], cancellations[0], memory):
            os.close(given)
    worker = Worker(child, ours, sender, cancellations[1], receiver, device)
    try:
        async with asyncio.timeout(limits.start_seconds):
            await worker.receive()
    except BaseException:
        worker.kill()
        await worker.death()
        raise
    return worker


def _close(*ends: Sender | Receiver[Reply] | socket.socket) -> None:
    for end in ends:
        end.close()


async def all_started(forking: Forking) -> list[Worker]:
    """As many workers as there should be; when one does not start, none stays."""
    places = forking.limits.places
    outcomes = await asyncio.gather(*(started(forking, device) for device in places), return_exceptions=True)
    workers = [outcome for outcome in outcomes if isinstance(outcome, Worker)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        await end(workers)
        raise ExplainsvcError("a worker process could not be started", to_do="See its message above") from failures[0]
    return workers


async def end(workers: Iterable[Worker]) -> None:
    """Kill all of them."""
    for worker in workers:
        worker.kill()
        await worker.death()
