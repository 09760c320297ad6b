"""Explain requests that wait for a worker are computed as one batch where ``together`` can tell their results apart.

A request that finds an idle worker does not wait for others, unless ``batch_seconds`` asks for it. Otherwise a batch forms
while its first request stands in line, and closes when its turn comes, or when it is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from explainpb.worker.v1.worker_pb2 import ExplainTogether, Job, Reply
from explainsvc.codec.errors import from_error
from explainsvc.errors import QueueFull, WorkerCrashed, WorkerOutOfMemory, WorkerTimedOut
from explainsvc.together import key_of
from explainsvc.workers.limits import Limits

Compute = Callable[[str, Callable[[], Job]], Awaitable[Reply]]
"""(folder, what makes the job once there is a worker) → its last reply."""
Key = tuple[str, bytes]
BROKEN = (WorkerCrashed, WorkerTimedOut, WorkerOutOfMemory)
"""Errors of a batch that say nothing of most of its requests, which are then computed one by one."""


@dataclass(eq=False)
class Member:
    """The job of a request of a batch, and where its caller waits."""

    job: Job
    reply: asyncio.Future[Reply]


@dataclass(eq=False)
class Batch:
    """Requests of one key; closed once it is full or a worker has it."""

    folder: str
    members: list[Member] = field(default_factory=list)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def job(self) -> Job:
        """All that are still waited for, as one job."""
        if len(self.members) == 1:
            return self.members[0].job
        requests = [member.job.explain for member in self.members]
        return Job(model_folder=self.folder, together=ExplainTogether(requests=requests))


@dataclass(eq=False)
class Batching:
    """The batches that still take requests.

    Attributes:
        limits: How many requests, and how long one waits for others.
        compute: Computes a job.
        closed: Hears the number of requests of each batch.
        open: By key.
    """

    limits: Limits
    compute: Compute
    closed: Callable[[int], None]
    open: dict[Key, Batch] = field(default_factory=dict)

    async def result(self, job: Job) -> Reply:
        """The reply to one Explain request.

        Raises:
            QueueFull: As many requests wait in batches as may wait.
            ExplainsvcError: That of this request alone.
        """
        kind = key_of(job.explain) if self.limits.batch > 1 else None
        if kind is None:
            return await self.compute(job.model_folder, lambda: job)
        key = (job.model_folder, kind)
        batch = self._joinable(key)
        member = Member(job, asyncio.get_running_loop().create_future())
        batch.members.append(member)
        if len(batch.members) >= self.limits.batch:
            self.open.pop(key, None)
            batch.full.set()
        try:
            return await member.reply
        except asyncio.CancelledError:
            self._leave(key, batch, member)
            raise

    def _joinable(self, key: Key) -> Batch:
        """The batch of this key that is still open, or a new one."""
        waiting = sum(len(batch.members) for batch in self.open.values())
        if key in self.open:
            if waiting >= self.limits.queue:
                raise QueueFull(f"{waiting} requests wait already", to_do="Send the request again in a moment")
            return self.open[key]
        batch = self.open[key] = Batch(key[0])
        batch.task = asyncio.create_task(self._computed(key, batch))
        return batch

    def _leave(self, key: Key, batch: Batch, member: Member) -> None:
        """A caller has gone; with the last one goes the whole batch."""
        if self.open.get(key) is batch:
            batch.members.remove(member)
        if all(other.reply.done() for other in batch.members):
            self._close(key, batch)
            assert batch.task is not None, "a batch that others join has its task"
            batch.task.cancel()

    def _close(self, key: Key, batch: Batch) -> None:
        if self.open.get(key) is batch:
            del self.open[key]

    async def _computed(self, key: Key, batch: Batch) -> None:
        """Computes the batch, and gives each caller what is theirs."""
        if self.limits.batch_seconds > 0:
            await _set_within(batch.full, self.limits.batch_seconds)

        def job() -> Job:
            self._close(key, batch)
            self.closed(len(batch.members))
            return batch.job()

        try:
            await self._shared(batch, await self.compute(batch.folder, job))
        except BROKEN as error:
            self._close(key, batch)
            await self._one_by_one(batch, error)
        except Exception as error:  # noqa: BLE001  # each caller raises it
            self._close(key, batch)
            _fail(batch.members, error)

    async def _shared(self, batch: Batch, reply: Reply) -> None:
        replies = reply.answers.replies if reply.HasField("answers") else [reply]
        broken = []
        for member, own in zip(batch.members, replies, strict=True):
            if own.error.reason in {kind.REASON for kind in BROKEN} and len(batch.members) > 1:
                broken.append(member)
            elif own.HasField("error"):
                _fail([member], from_error(own.error))
            elif not member.reply.done():
                member.reply.set_result(own)
        await self._each_alone(batch.folder, broken)

    async def _one_by_one(self, batch: Batch, error: Exception) -> None:
        """What broke the batch is the error of a request that was alone in it; several are tried again, each alone."""
        if len(batch.members) == 1:
            _fail(batch.members, error)
        else:
            await self._each_alone(batch.folder, batch.members)

    async def _each_alone(self, folder: str, members: list[Member]) -> None:
        for member in members:
            if not member.reply.done():
                await self._alone(folder, member)

    async def _alone(self, folder: str, member: Member) -> None:
        try:
            reply = await self.compute(folder, lambda: member.job)
        except Exception as error:  # noqa: BLE001  # its caller raises it
            _fail([member], error)
        else:
            if not member.reply.done():
                member.reply.set_result(reply)


def _fail(members: list[Member], error: Exception) -> None:
    for member in members:
        if not member.reply.done():
            member.reply.set_exception(error)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
