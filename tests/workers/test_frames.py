"""Messages between server and worker."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from explainpb.worker.v1.worker_pb2 import Reply
from explainsvc.frames import Receiver, framed


def test_whoever_gives_up_in_the_middle_of_a_message_loses_nothing() -> None:
    """A reply that was half there when its caller went is whole for the next one, at whatever byte it was cut."""
    replies = [Reply(digest="a" * 40), Reply(report=b"b" * 70)]
    data = b"".join(map(framed, replies))

    async def received(cut: int) -> list[Reply]:
        pipe = asyncio.StreamReader()
        receiver = Receiver(pipe, Reply)
        pipe.feed_data(data[:cut])
        found: list[Reply] = []
        with suppress(TimeoutError):
            while True:
                found.append(await asyncio.wait_for(receiver.receive(), 0.001))
        pipe.feed_data(data[cut:])
        return [*found, *[await receiver.receive() for _ in replies[len(found) :]]]

    for cut in range(len(data)):
        assert asyncio.run(received(cut)) == replies
