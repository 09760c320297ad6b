"""Messages over a pipe: two lengths of four bytes little-endian, a serialised protobuf message, and bytes that lie beside it.

The bytes beside a message are what would be large in it, as it lies somewhere already: a protobuf message copies what it is
given, and what it is made of, once more each.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from google.protobuf.message import Message

from explainsvc.windows import Window

PREFIX = struct.Struct("<II?")
"""Bytes of the message, bytes beside it, and whether those lie in a window."""
NUMBER = struct.Struct("<Q")
"""Of a job that is cancelled, in a pipe of nothing else; so few bytes are written and read at once, or not at all (pipe(7))."""
COUNT = struct.Struct("i")
"""What FIONREAD fills in."""
PIPE_BYTES = 2**20
"""What a pipe holds, where the system allows it: by default 64 KiB, which wakes both ends sixteen times a mebibyte."""
AT_ONCE = 8
"""Buffers of one system call, which takes 1024."""
Buffer = bytes | memoryview
Parts = Sequence[Buffer]
M = TypeVar("M", bound=Message)


def framed(message: Message, *beside: Buffer, window: Window | None = None) -> list[memoryview]:
    """The message and the bytes beside it, behind their lengths; without those bytes where the window takes them."""
    data = message.SerializeToString()
    parts = [memoryview(part).cast("B") for part in beside if len(part)]
    elsewhere = window is not None and window.put(parts)
    prefix = PREFIX.pack(len(data), sum(map(len, parts)), elsewhere)
    return [memoryview(prefix + data), *(() if elsewhere else parts)]


def write(pipe: int, message: Message, *beside: Buffer, window: Window | None = None) -> None:
    """To a blocking pipe."""
    left = deque(framed(message, *beside, window=window))
    while left:
        _drop(left, os.writev(pipe, tuple(islice(left, AT_ONCE))))


def _drop(left: deque[memoryview], count: int) -> None:
    """So many bytes have been written."""
    while left and count >= len(left[0]):
        count -= len(left.popleft())
    if count:
        left[0] = left[0][count:]


def read(pipe: int, kind: type[M], window: Window) -> tuple[M, bytes | bytearray] | None:
    """The next message of a blocking pipe, and what lies beside it; None at its end."""
    prefix = _read(pipe, PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    size, beside, elsewhere = PREFIX.unpack(prefix)
    message = kind.FromString(bytes(_read(pipe, size)))
    return message, window.take(beside) if elsewhere else _read(pipe, beside)


def _read(pipe: int, size: int) -> bytearray:
    """So many bytes; fewer at the end of the pipe."""
    data = bytearray(size)
    missing = memoryview(data)
    while missing and (count := os.readv(pipe, [missing])):
        missing = missing[count:]
    return data if not missing else data[: size - len(missing)]


def _waiting(pipe: int) -> int:
    """Bytes that a pipe holds, from either end."""
    (count,) = COUNT.unpack(fcntl.ioctl(pipe, termios.FIONREAD, bytes(COUNT.size)))
    return int(count)


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
    window: Window | None = None
    left: deque[memoryview] = field(default_factory=deque)
    closed: bool = False
    waiting: asyncio.Future[None] | None = None
    unread: int = 0

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)

    async def send(self, message: Message, *beside: Buffer) -> None:
        """All of it; ConnectionError when nobody reads any more."""
        if not self.put(message, *beside):
            await self.sent()

    def put(self, message: Message, *beside: Buffer) -> bool:
        """As much of it as the pipe takes now; whether that was all."""
        self.left.extend(framed(message, *beside, window=self.window))
        return self._written()

    def _written(self) -> bool:
        try:
            while self.left:
                if self.closed:
                    raise BrokenPipeError
                _drop(self.left, os.writev(self.pipe, tuple(islice(self.left, AT_ONCE))))
        except BlockingIOError:
            return False
        return True

    async def sent(self) -> None:
        """Once all that was put has gone."""
        while not self._written():
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
        """Whoever still sends is told; ``unread`` says from now on how many bytes nobody has read."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().remove_writer(self.pipe)
            self.unread = _waiting(self.pipe) + sum(map(len, self.left))
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
    window: Window | None = None
    parts: deque[memoryview] = field(default_factory=deque)
    arrived: int = 0
    sizes: tuple[int, int, bool] | None = None
    closed: bool = False
    watched: bool = False
    waiting: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)
        self._watch()

    async def receive(self) -> tuple[M, Parts]:
        """The next message, and what lies beside it, in pieces; IncompleteReadError at the pipe's end."""
        while not self._whole():
            if self.closed:
                raise asyncio.IncompleteReadError(b"".join(self.parts), None)
            self._watch()
            self.waiting = asyncio.get_running_loop().create_future()
            await self.waiting
        assert self.sizes is not None, "of a whole message they are known"
        (size, beside, elsewhere), self.sizes = self.sizes, None
        message = self.kind.FromString(b"".join(self._taken(size)))
        if elsewhere:
            return message, [] if self.window is None else [self.window.take(beside)]
        return message, self._taken(beside)

    def _whole(self) -> bool:
        """Whether a message is there."""
        if self.sizes is None and self.arrived >= PREFIX.size:
            self.sizes = PREFIX.unpack(b"".join(self._taken(PREFIX.size)))
        if self.sizes is None:
            return False
        size, beside, elsewhere = self.sizes
        return self.arrived >= (size if elsewhere else size + beside)

    def _taken(self, size: int) -> list[memoryview]:
        """So many of the bytes that have arrived."""
        self.arrived -= size
        taken, missing = list[memoryview](), size
        while missing:
            part = self.parts.popleft()
            taken.append(part[:missing])
            if len(part) > missing:
                self.parts.appendleft(part[missing:])
            missing -= len(taken[-1])
        return taken

    def _watch(self) -> None:
        if not self.watched and not self.closed:
            asyncio.get_running_loop().add_reader(self.pipe, self._read)
            self.watched = True

    def _unwatch(self) -> None:
        if self.watched:
            asyncio.get_running_loop().remove_reader(self.pipe)
            self.watched = False

    def _read(self) -> None:
        """What is there; it wakes whoever waits for what has become whole."""
        try:
            data = os.read(self.pipe, max(1, _waiting(self.pipe)))  # a larger block, cut to size, would litter the heap
        except BlockingIOError:
            return
        if not data:
            self._shut()
            return
        self.parts.append(memoryview(data))
        self.arrived += len(data)
        if self.arrived >= PIPE_BYTES and (self.waiting is None or self.waiting.done()):
            self._unwatch()
        if self._whole():
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
