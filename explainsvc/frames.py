"""Length-prefixed messages over a pipe: four bytes little-endian, then a serialised protobuf message."""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO, TypeVar

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


async def receive(pipe: asyncio.StreamReader, kind: type[M]) -> M:
    """The next message of an asyncio pipe; IncompleteReadError at its end."""
    (size,) = PREFIX.unpack(await pipe.readexactly(PREFIX.size))
    return kind.FromString(await pipe.readexactly(size))
