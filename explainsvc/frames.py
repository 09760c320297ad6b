"""Length-prefixed messages over a pipe: four bytes little-endian, then a serialised protobuf message."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, Generic, TypeVar

from google.protobuf.message import Message

PREFIX = struct.Struct("<I")
PIPE_BYTES = 2**20
"""What a pipe holds, where the system allows it: by default 64 KiB, which wakes both ends sixteen times a mebibyte."""
AT_ONCE = 8
"""Buffers of one system call, which takes 1024."""
M = TypeVar("M", bound=Message)


def framed(message: Message) -> tuple[bytes, bytes]:
    """The length of the message, and the message."""
    data = message.SerializeToString()
    return PREFIX.pack(len(data)), data


def write(pipe: int, message: Message) -> None:
    """To a blocking pipe."""
    left = deque(memoryview(part) for part in framed(message))
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
class Sender:
    """Sends messages down a pipe, in an event loop. What is left of one whose sender gave up goes ahead of the next."""

    pipe: int
    left: deque[memoryview] = field(default_factory=deque)
    closed: bool = False
    waiting: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)

    async def send(self, message: Message) -> None:
        """All of it; ConnectionError when nobody reads any more."""
        self.left.extend(map(memoryview, framed(message)))
        while self.left:
            if self.closed:
                raise BrokenPipeError
            try:
                _drop(self.left, os.writev(self.pipe, tuple(islice(self.left, AT_ONCE))))
            except BlockingIOError:
                await self._room()

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        self.waiting = loop.create_future()
        loop.add_writer(self.pipe, _wake, self.waiting)
        try:
            await self.waiting
        finally:
            if not self.closed:
                loop.remove_writer(self.pipe)

    def close(self) -> None:
        """Whoever still sends is told."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().remove_writer(self.pipe)
            os.close(self.pipe)
            _wake(self.waiting)


@dataclass(eq=False)
class Receiver(Generic[M]):
    """Receives messages of one kind from a pipe, in an event loop. Whoever gives up waiting for one loses nothing of it.

    The pipe is watched from the beginning, for each change of what is watched costs more than a short message; but no more
    than a pipe holds is read ahead.
    """

    pipe: int
    kind: type[M]
    size: int | None = None
    parts: deque[memoryview] = field(default_factory=deque)
    arrived: int = 0
    closed: bool = False
    watched: bool = False
    waiting: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)
        self._buffer = bytearray(PIPE_BYTES)
        self._watch()

    async def receive(self) -> M:
        """The next message; IncompleteReadError at the pipe's end."""
        if self.size is None:
            (self.size,) = PREFIX.unpack(await self._exactly(PREFIX.size))
        data = await self._exactly(self.size)
        self.size = None
        return self.kind.FromString(data)

    async def _exactly(self, size: int) -> bytes:
        while self.arrived < size:
            if self.closed:
                raise asyncio.IncompleteReadError(b"".join(self.parts), size)
            self._watch()
            self.waiting = asyncio.get_running_loop().create_future()
            await self.waiting
        taken, missing = list[memoryview](), size
        while missing:
            part = self.parts.popleft()
            taken.append(part[:missing])
            if len(part) > missing:
                self.parts.appendleft(part[missing:])
            missing -= len(taken[-1])
        self.arrived -= size
        return b"".join(taken)

    def _watch(self) -> None:
        if not self.watched and not self.closed:
            asyncio.get_running_loop().add_reader(self.pipe, self._read)
            self.watched = True

    def _unwatch(self) -> None:
        if self.watched:
            asyncio.get_running_loop().remove_reader(self.pipe)
            self.watched = False

    def _read(self) -> None:
        """What is there; it wakes whoever waits."""
        try:
            count = os.readv(self.pipe, [self._buffer])
        except BlockingIOError:
            return
        if count == 0:
            self._shut()
            return
        self.parts.append(memoryview(bytes(memoryview(self._buffer)[:count])))
        self.arrived += count
        if self.arrived >= PIPE_BYTES and (self.waiting is None or self.waiting.done()):
            self._unwatch()
        _wake(self.waiting)

    def close(self) -> None:
        """After the death of whoever wrote; what that has said can still be received."""
        before = -1
        while not self.closed and before != self.arrived:
            before = self.arrived
            self._read()
        self._shut()

    def _shut(self) -> None:
        if not self.closed:
            self._unwatch()
            self.closed = True
            os.close(self.pipe)
            _wake(self.waiting)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
