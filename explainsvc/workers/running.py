"""A job and the worker that it was given to, until its last reply."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc.errors import ExplainsvcError, WorkerCrashed, WorkerOutOfMemory, WorkerTimedOut
from explainsvc.frames import Parts
from explainsvc.workers.limits import Limits
from explainsvc.workers.process import Worker, death_in_words

INTERIM = frozenset({"wanted", "progress", "row", "begun", "part", "streamed"})
"""Replies that are followed by others."""
ALIVE = frozenset({"progress", "part"})
"""Replies that give a job its time anew: an audit may take hours, but none of its parts."""
T = TypeVar("T")


class Stage(Enum):
    """Where a job is: under way, or over in one of these ways; ``UNHEARD``: its worker has died, and had not read it."""

    UNDER_WAY = auto()
    DONE = auto()
    OUT_OF_MEMORY = auto()
    OUT_OF_TIME = auto()
    UNHEARD = auto()
    DEAD = auto()
    DEAD_OF_IT = auto()


@dataclass(eq=False)
class Running:
    """A job and its worker; ``beside`` is sent beside it, ``another`` gives a second worker where the first was dying."""

    limits: Limits
    worker: Worker
    job: Job
    beside: bytes
    another: Callable[[], Awaitable[Worker]] | None
    deadline: float = 0.0
    stage: Stage = Stage.UNDER_WAY

    async def begin(self) -> None:
        """Sends the job; raises as ``reply`` does."""
        try:
            await self._send()
        except WorkerCrashed as error:
            await self._once_more(error)

    async def reply(self) -> tuple[Reply, Parts]:
        """The next reply that is not for us alone, and what lies beside it; the files of the model are handed over on the way.

        Raises:
            WorkerCrashed: The worker died.
            WorkerTimedOut: The job took too long.
        """
        try:
            return await self._reply()
        except WorkerCrashed as error:
            await self._once_more(error)
            return await self._reply()

    async def _once_more(self, error: WorkerCrashed) -> None:
        """A worker that was dying when it was given the job is no error of this job, which goes to another; a second one is."""
        if self.stage != Stage.UNHEARD or self.another is None:
            raise error
        another, self.another = self.another, None
        self.worker = await another()
        await self._send()

    async def _send(self) -> None:
        self.stage = Stage.UNDER_WAY
        self._renew()
        try:
            sent = self.worker.give(self.job, self.beside)
        except ConnectionError as error:
            raise await self._death() from error
        if not sent:
            await self._in_time(self.worker.jobs.sent())

    async def _reply(self) -> tuple[Reply, Parts]:
        while True:
            reply, beside = await self._in_time(self.worker.receive())
            event = reply.WhichOneof("event")
            if event in ALIVE:
                self._renew()
            if event not in INTERIM:
                self.stage = Stage.OUT_OF_MEMORY if reply.error.reason == WorkerOutOfMemory.REASON else Stage.DONE
            if event != "wanted":
                return reply, beside
            await self._in_time(self.worker.send_files(Path(self.job.model_folder)))

    def _renew(self) -> None:
        """The job has its time from now on."""
        self.deadline = asyncio.get_running_loop().time() + self.limits.job_seconds
        self.worker.allow_cpu(self.limits.cpu_budget)

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self.deadline):
                return await work
        except TimeoutError as error:
            self.stage = Stage.OUT_OF_TIME
            raise _timed_out(f"{self.limits.job_seconds:g} seconds", "job_seconds") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._death() from error

    async def _death(self) -> ExplainsvcError:
        """The error of a caller whose worker is dead."""
        self.worker.kill()  # its pipe is closed, which no living worker does
        code = await self.worker.death()
        heard = self.worker.jobs.unread == 0
        self.stage = Stage.UNHEARD if not heard else Stage.DEAD if self.worker.ended else Stage.DEAD_OF_IT
        if code == -signal.SIGXCPU:
            return _timed_out(f"{self.limits.cpu_budget:g} seconds of CPU time", "job_cpu_seconds")
        return WorkerCrashed(
            f"the worker process died {death_in_words(code)} while it computed",
            to_do="Send the request once more; if it happens again, the model or its inputs are the cause",
        )


def _timed_out(time: str, setting: str) -> WorkerTimedOut:
    return WorkerTimedOut(
        f"the work took longer than {time}",
        to_do=f"Ask for less (a smaller batch, fewer steps or samples), or raise {setting} of the server",
    )
