"""Messages between server and worker, and what lies beside them."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest

from explainpb.worker.v1.worker_pb2 import Reply
from explainsvc.frames import PIPE_BYTES, Parts, Receiver, Sender, framed, wide_pipe


def test_whoever_gives_up_in_the_middle_of_a_message_loses_nothing() -> None:
    """A reply that was half there when its caller went is whole for the next one, at whatever byte it was cut."""
    replies = [(Reply(digest="a" * 40), b""), (Reply(report=b"b" * 70), b"c" * 30)]
    data = b"".join(part for reply, beside in replies for part in framed(reply, beside))

    async def received(cut: int) -> list[tuple[Reply, bytes]]:
        reading, writing = wide_pipe()
        receiver = Receiver(reading, Reply)
        os.write(writing, data[:cut])
        found: list[tuple[Reply, bytes]] = []
        with suppress(TimeoutError):
            while True:
                found.append(joined(await asyncio.wait_for(receiver.receive(), 0.001)))
        os.write(writing, data[cut:])
        os.close(writing)
        if cut % 2:  # what the writer has said before its death can still be received
            receiver.close()
        found += [joined(await receiver.receive()) for _ in replies[len(found) :]]
        with pytest.raises(asyncio.IncompleteReadError):
            await receiver.receive()
        receiver.close()
        return found

    for cut in range(len(data)):
        assert asyncio.run(received(cut)) == replies


def joined(received: tuple[Reply, Parts]) -> tuple[Reply, bytes]:
    """What lies beside the message, in one piece."""
    return received[0], b"".join(received[1])


def test_a_message_that_was_given_up_goes_ahead_of_the_next() -> None:
    """A job larger than the pipe, whose sender gave up halfway, arrives whole, and then the one after it."""
    large, small, beside = Reply(report=b"b" * (3 * PIPE_BYTES)), Reply(digest="a" * 40), b"c" * (2 * PIPE_BYTES)

    async def sent() -> list[tuple[Reply, bytes]]:
        reading, writing = wide_pipe()
        sender, receiver = Sender(writing), Receiver(reading, Reply)
        with suppress(TimeoutError):
            await asyncio.wait_for(sender.send(large, beside), 0.001)
        sending = asyncio.create_task(sender.send(small))
        found = [joined(await receiver.receive()), joined(await receiver.receive())]
        await sending
        receiver.close()
        with pytest.raises(ConnectionError):
            await sender.send(small)
        sender.close()
        return found

    assert asyncio.run(sent()) == [(large, beside), (small, b"")]


def test_a_pipe_tells_what_nobody_has_read() -> None:
    """A closed sender knows how many bytes its reader has left behind, those that the pipe did not take among them."""

    async def unread(read: int) -> int:
        reading, writing = wide_pipe()
        sender, message = Sender(writing), Reply(report=b"b" * (2 * PIPE_BYTES))
        with suppress(TimeoutError):
            await asyncio.wait_for(sender.send(message), 0.001)
        os.read(reading, read)
        os.close(reading)
        sender.close()
        return sum(map(len, framed(message))) - sender.unread

    for read in (0, 1, PIPE_BYTES):
        assert asyncio.run(unread(read)) == read
