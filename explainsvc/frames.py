"""Length-prefixed messages over a pipe: four bytes little-endian, then a serialised protobuf message."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Generic, TypeVar

from google.protobuf.message import Message

PREFIX = struct.Struct("<I")
PIPE_BYTES = 2**20
"""What a pipe holds, where the system allows it: by default 64 KiB, which wakes both ends sixteen times a mebibyte."""
AT_ONCE = 8
"""Buffers of one system call, which takes 1024."""
M = TypeVar("M", bound=Message)
Watch = Callable[..., Any]


def framed(message: Message) -> tuple[bytes, bytes]:
    """The length of the message, and the message."""
    data = message.SerializeToString()
    return PREFIX.pack(len(data)), data


def write(pipe: int, message: Message) -> None:
    """To a blocking pipe."""
    left = deque(map(memoryview, framed(message)))
    while left:
        _drop(left, os.writev(pipe, left))


def _drop(left: deque[memoryview], count: int) -> None:
    """So many bytes have been written."""
    while left and count >= len(left[0]):
        count -= len(left.popleft())
    if count:
        left[0] = left[0][count:]


def read(pipe: BinaryIO, kind: type[M]) -> M | None:
    """The next message of a blocking pipe; None at its end."""
    prefix = pipe.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    return kind.FromString(pipe.read(*PREFIX.unpack(prefix)))


def wide_pipe() -> tuple[int, int]:
    """A pipe for large messages: where it is read, and where it is written."""
    ends = os.pipe()
    with suppress(OSError):  # the user's pipes hold as much as they may already
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends


@dataclass(eq=False)
class End:
    """One end of a pipe in an event loop; ``waiting`` is what its one user waits for."""

    pipe: int
    closed: bool = False
    waiting: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)

    async def ready(self, add: Watch, remove: Watch) -> None:
        """Until something can be done with it, or it was closed."""
        self.waiting = asyncio.get_running_loop().create_future()
        add(self.pipe, self._wake)
        try:
            await self.waiting
        finally:
            if not self.closed:
                remove(self.pipe)

    def _wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def close(self) -> None:
        """Whoever waits is woken."""
        if not self.closed:
            self.closed = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.pipe)
            loop.remove_writer(self.pipe)
            os.close(self.pipe)
            self._wake()


@dataclass(eq=False)
class Sender(End):
    """Sends messages. What is left of one whose sender gave up goes ahead of the next."""

    left: deque[memoryview] = field(default_factory=deque)

    async def send(self, message: Message) -> None:
        """All of it; ConnectionError when nobody reads any more."""
        self.left.extend(map(memoryview, framed(message)))
        loop = asyncio.get_running_loop()
        while self.left:
            if self.closed:
                raise BrokenPipeError
            try:
                _drop(self.left, os.writev(self.pipe, tuple(islice(self.left, AT_ONCE))))
            except BlockingIOError:
                await self.ready(loop.add_writer, loop.remove_writer)


@dataclass(eq=False)
class Receiver(End, Generic[M]):
    """Receives messages of one kind. Whoever gives up waiting in the middle of one loses nothing of it.

    Attributes:
        kind: Of the messages.
        size: Of the one that is arriving, once that is known.
        parts: What has arrived of it.
        ahead: What was left in the pipe when it was closed.
    """

    kind: type[M] = field(kw_only=True)
    size: int | None = None
    parts: list[bytes] = field(default_factory=list)
    ahead: bytes = b""

    async def receive(self) -> M:
        """The next message; IncompleteReadError at the pipe's end."""
        if self.size is None:
            (self.size,) = PREFIX.unpack(await self._exactly(PREFIX.size))
        data = await self._exactly(self.size)
        self.size = None
        return self.kind.FromString(data)

    async def _exactly(self, size: int) -> bytes:
        while (missing := size - sum(map(len, self.parts))) > 0:
            part = await self._some(missing)
            if not part:
                raise asyncio.IncompleteReadError(b"".join(self.parts), size)
            self.parts.append(part)
        data = b"".join(self.parts)
        self.parts.clear()
        return data

    async def _some(self, most: int) -> bytes:
        """At least a byte; nothing at the end. No more than a pipe holds: what a worker announces need not be true."""
        loop = asyncio.get_running_loop()
        while not self.closed:
            try:
                return os.read(self.pipe, min(most, PIPE_BYTES))
            except BlockingIOError:
                await self.ready(loop.add_reader, loop.remove_reader)
        part, self.ahead = self.ahead[:most], self.ahead[most:]
        return part

    def close(self) -> None:
        """Close it after the death of its writer; what that has said can still be received."""
        if not self.closed:
            with suppress(BlockingIOError):
                while part := os.read(self.pipe, PIPE_BYTES):
                    self.ahead += part
        super().close()
