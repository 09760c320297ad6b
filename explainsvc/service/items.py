"""Many pieces of work over one stream: a bounded number at once, each outcome as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


async def as_they_end(
    requests: AsyncIterator[Request], work: Callable[[Request], Awaitable[Outcome]], limit: int
) -> AsyncIterator[Outcome]:
    """The outcome of every request, in the order in which they end; no more than ``limit`` are worked on at once.

    One request is read ahead, so that whoever sends them is held back by the transport. Closing the iterator cancels the rest.
    """

    async def following() -> list[Request]:
        async for request in requests:
            return [request]
        return []

    async def worked(request: Request) -> Outcome:
        return await work(request)

    reading: asyncio.Task[list[Request]] | None = asyncio.create_task(following())
    running: set[asyncio.Task[Outcome]] = set()
    try:
        while running or reading is not None:
            room = [reading] if reading is not None and len(running) < limit else []
            await asyncio.wait([*running, *room], return_when=asyncio.FIRST_COMPLETED)
            if room and room[0].done():
                found = room[0].result()
                running |= {asyncio.create_task(worked(request)) for request in found}
                reading = asyncio.create_task(following()) if found else None
            for task in [task for task in running if task.done()]:
                running.remove(task)
                yield task.result()
    finally:
        left: list[asyncio.Task[Any]] = [*running, *([] if reading is None else [reading])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
