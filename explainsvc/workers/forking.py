"""The server's side of its fork server (:mod:`explainsvc.forkserver`): workers are born there, and their deaths heard of."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from explainsvc.workers.limits import Limits

ENVIRONMENT = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH", "PYTHON", "VIRTUAL_ENV", "OMP_", "OPENBLAS_", "MKL_",
    "ORT_", "CUDA_", "NVIDIA_", "EXPLAINSVC_LIMIT_", "EXPLAINSVC_SESSION_CACHE_BYTES", "EXPLAINSVC_PROVIDERS",
)  # fmt: skip
"""What variables that a worker is given start with: those of the server may hold credentials."""
LONGEST = 4096
"""Bytes of a message of the fork server."""


@dataclass(frozen=True)
class Child:
    """A process that was born: its id, a descriptor that stands for it, and its exit code (or minus its signal) one day."""

    pid: int
    pidfd: int
    death: asyncio.Future[int]


@dataclass(eq=False)
class ForkServer:
    """One process and what is expected of it. Its end is that of all its children."""

    process: asyncio.subprocess.Process
    channel: socket.socket
    births: deque[asyncio.Future[Child]] = field(default_factory=deque)
    deaths: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    gone: bool = False

    async def born(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> Child:
        """A child with these descriptors; ConnectionError when the process has ended."""
        if self.gone:
            raise ConnectionResetError
        birth: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        socket.send_fds(self.channel, [json.dumps(order).encode()], descriptors)
        self.births.append(birth)
        return await birth

    def heard(self) -> None:
        """Something has come over the channel, or it has ended."""
        message, descriptors = b"", list[int]()
        with suppress(ConnectionError):
            message, descriptors, _, _ = socket.recv_fds(self.channel, LONGEST, 1)
        facts = json.loads(message) if message else {}
        match facts:
            case {"born": pid}:
                self._birth(pid, *descriptors)
            case {"died": pid, "code": code}:
                self.deaths.pop(pid).set_result(code)
            case {"failed": reason}:
                _settle(self.births.popleft(), OSError(reason))
            case _:
                self._end()

    def _birth(self, pid: int, pidfd: int) -> None:
        """To whoever waits for it; a child that nobody wants any more is ended."""
        self.deaths[pid] = asyncio.get_running_loop().create_future()
        birth = self.births.popleft()
        if birth.done():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        else:
            birth.set_result(Child(pid, pidfd, self.deaths[pid]))

    def _end(self) -> None:
        if not self.gone:
            self.gone = True
            asyncio.get_running_loop().remove_reader(self.channel)
            self.channel.close()
            for birth in self.births:
                _settle(birth, ConnectionResetError())
            for death in self.deaths.values():
                death.set_result(-signal.SIGKILL)

    async def end(self) -> None:
        """And all its children with it."""
        self._end()
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


def _settle(birth: asyncio.Future[Child], error: OSError) -> None:
    if not birth.done():
        birth.set_exception(error)


async def executed(limits: Limits) -> ForkServer:
    """A new one that has imported everything."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = await _executed(its.fileno())
    ours.setblocking(False)
    server, loop = ForkServer(process, ours), asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.start_seconds):
            if not await loop.sock_recv(ours, LONGEST):
                raise ConnectionResetError("it has ended before it was ready")
    except BaseException:
        await server.end()
        raise
    loop.add_reader(ours, server.heard)
    return server


async def _executed(channel: int) -> asyncio.subprocess.Process:
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    kept = {name: text for name, text in os.environ.items() if name.startswith(ENVIRONMENT)}
    nothing = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "explainsvc.forkserver", str(channel),
        stdin=nothing, stdout=nothing, env=kept | {"PYTHONPATH": path}, pass_fds=[channel],
    )  # fmt: skip


@dataclass(eq=False)
class Forking:
    """The fork server of a pool, and the next one should it end."""

    limits: Limits
    server: ForkServer | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def born(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> Child:
        """See ForkServer."""
        async with self.starting:
            if self.server is None or self.server.gone:
                await self.end()
                self.server = await executed(self.limits)
        return await self.server.born(order, descriptors)

    async def end(self) -> None:
        """Of the process and of all its children."""
        if self.server is not None:
            await self.server.end()
