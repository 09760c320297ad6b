"""Length-prefixed messages over a pipe: four bytes little-endian, then a serialised protobuf message."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import BinaryIO, Generic, TypeVar

from google.protobuf.message import Message

PREFIX = struct.Struct("<I")
M = TypeVar("M", bound=Message)


def framed(message: Message) -> bytes:
    """The message with its length in front."""
    data = message.SerializeToString()
    return PREFIX.pack(len(data)) + data


def read(pipe: BinaryIO, kind: type[M]) -> M | None:
    """The next message of a blocking pipe; None at its end."""
    prefix = pipe.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    return kind.FromString(pipe.read(*PREFIX.unpack(prefix)))


@dataclass(eq=False)
class Receiver(Generic[M]):
    """Messages of an asyncio pipe. Whoever gives up waiting in the middle of one loses nothing of it."""

    pipe: asyncio.StreamReader
    kind: type[M]
    size: int | None = None

    async def receive(self) -> M:
        """The next message; IncompleteReadError at the pipe's end."""
        if self.size is None:
            (self.size,) = PREFIX.unpack(await self.pipe.readexactly(PREFIX.size))
        data = await self.pipe.readexactly(self.size)
        self.size = None
        return self.kind.FromString(data)
