"""Messages between server and worker."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest

from explainpb.worker.v1.worker_pb2 import Reply
from explainsvc.frames import PIPE_BYTES, Receiver, Sender, framed, wide_pipe


def test_whoever_gives_up_in_the_middle_of_a_message_loses_nothing() -> None:
    """A reply that was half there when its caller went is whole for the next one, at whatever byte it was cut."""
    replies = [Reply(digest="a" * 40), Reply(report=b"b" * 70)]
    data = b"".join(part for reply in replies for part in framed(reply))

    async def received(cut: int) -> list[Reply]:
        reading, writing = wide_pipe()
        receiver = Receiver(reading, Reply)
        os.write(writing, data[:cut])
        found: list[Reply] = []
        with suppress(TimeoutError):
            while True:
                found.append(await asyncio.wait_for(receiver.receive(), 0.001))
        os.write(writing, data[cut:])
        os.close(writing)
        if cut % 2:  # what the writer has said before its death can still be received
            receiver.close()
        found += [await receiver.receive() for _ in replies[len(found) :]]
        with pytest.raises(asyncio.IncompleteReadError):
            await receiver.receive()
        receiver.close()
        return found

    for cut in range(len(data)):
        assert asyncio.run(received(cut)) == replies


def test_a_message_that_was_given_up_goes_ahead_of_the_next() -> None:
    """A job larger than the pipe, whose sender gave up halfway, arrives whole, and then the one after it."""
    large, small = Reply(report=b"b" * (3 * PIPE_BYTES)), Reply(digest="a" * 40)

    async def sent() -> list[Reply]:
        reading, writing = wide_pipe()
        sender, receiver = Sender(writing), Receiver(reading, Reply)
        with suppress(TimeoutError):
            await asyncio.wait_for(sender.send(large), 0.001)
        sending = asyncio.create_task(sender.send(small))
        found = [await receiver.receive(), await receiver.receive()]
        await sending
        receiver.close()
        with pytest.raises(ConnectionError):
            await sender.send(small)
        sender.close()
        return found

    assert asyncio.run(sent()) == [large, small]
