"""Work in processes of its own: a pool of warm workers, so that what a model does to its process stays there.

A worker is started by exec (never fork: gRPC's threads would not survive it), computes one job at a time, and is
killed when its job's caller goes away or its time is over. A worker that ends, for whatever reason, is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc import frames
from explainsvc.codec.errors import from_error
from explainsvc.errors import ExplainsvcError, QueueFull, WorkerCrashed, WorkerOutOfMemory, WorkerTimedOut

LOG = logging.getLogger(__name__)
INTERIM = frozenset({"progress", "row", "begun", "part", "streamed"})
"""Replies that are followed by others."""
ALIVE = frozenset({"progress", "part"})
"""Replies that give a job its time anew: an audit may take hours, but none of its parts."""
PIPE_BUFFER = 2**20
RESTART_SECONDS = 1.0
"""Between attempts to start a worker when starting fails."""


@dataclass(frozen=True)
class Limits:
    """What the pool and each worker may use; 0 bytes or threads: no limit, the runtime's own choice."""

    workers: int = 2
    queue: int = 64
    job_seconds: float = 600.0
    start_seconds: float = 120.0
    memory_bytes: int = 0
    threads: int = 0


@dataclass(eq=False)
class Worker:
    """One process and the folder of the model that it saw last."""

    process: asyncio.subprocess.Process
    model_folder: str = ""

    async def send(self, job: Job) -> None:
        """Give it a job."""
        assert self.process.stdin is not None
        self.model_folder = job.model_folder
        self.process.stdin.write(frames.framed(job))
        await self.process.stdin.drain()

    async def receive(self) -> Reply:
        """Its next reply; IncompleteReadError when it is dead."""
        assert self.process.stdout is not None
        return await frames.receive(self.process.stdout, Reply)

    def alive(self) -> bool:
        """Whether the process runs. asyncio hears of its end a moment late, so the system is asked, and nothing is reaped."""
        if self.process.returncode is not None:
            return False
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def kill(self) -> None:
        """End it now; its keeper starts the next one."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def death(self) -> str:
        """How it died, in words."""
        code = await self.process.wait()
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


async def started(limits: Limits) -> Worker:
    """A new worker that has said that it is ready."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    environment = os.environ | {"PYTHONPATH": path, "EXPLAINSVC_THREADS": str(limits.threads)}
    arguments = ["-P", "-m", "explainsvc.worker", str(limits.memory_bytes)]
    pipe = asyncio.subprocess.PIPE
    worker = Worker(
        await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=pipe, stdout=pipe, env=environment, limit=PIPE_BUFFER
        )
    )
    try:
        async with asyncio.timeout(limits.start_seconds):
            await worker.receive()
    except BaseException:
        worker.kill()
        await worker.process.wait()
        raise
    return worker


@dataclass(eq=False)
class Pool:
    """The workers; made by ``running``."""

    limits: Limits
    workers: set[Worker]
    idle: list[Worker] = field(default_factory=list)
    waiting: deque[asyncio.Future[Worker]] = field(default_factory=deque)

    async def run(self, job: Job) -> AsyncIterator[Reply]:
        """The replies to a job, the last one its result. Close the iterator to cancel the job.

        Raises:
            QueueFull: Too many jobs wait already.
            WorkerCrashed: The worker died.
            WorkerTimedOut: The job took too long.
            ExplainsvcError: Whatever the job itself ended in.
        """
        worker, deadline = await self._given(job)
        healthy = False
        try:
            while not healthy:
                reply = await self._receive(worker, deadline)
                if reply.WhichOneof("event") in ALIVE:
                    deadline = asyncio.get_running_loop().time() + self.limits.job_seconds
                healthy = reply.WhichOneof("event") not in INTERIM and reply.error.reason != WorkerOutOfMemory.REASON
                if reply.HasField("error"):
                    raise from_error(reply.error)
                yield reply
        finally:
            self._release(worker, healthy)

    async def result(self, job: Job) -> Reply:
        """The last reply to a job."""
        async with aclosing(self.run(job)) as replies:  # type: ignore[type-var]  # an async generator has aclose
            async for reply in replies:
                last = reply
        return last

    async def _given(self, job: Job) -> tuple[Worker, float]:
        """A worker that has accepted the job, and when its time is over.

        One that was dying while it waited is no error of this job, which goes to another; a second one is.
        """
        try:
            return await self._given_to_one(job)
        except WorkerCrashed:
            return await self._given_to_one(job)

    async def _given_to_one(self, job: Job) -> tuple[Worker, float]:
        worker = await self._acquire(job.model_folder)
        deadline = asyncio.get_running_loop().time() + self.limits.job_seconds
        try:
            await self._send(worker, job, deadline)
            await self._receive(worker, deadline)
        except BaseException:
            self._release(worker, healthy=False)
            raise
        return worker, deadline

    async def _send(self, worker: Worker, job: Job, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await worker.send(job)
        except (ConnectionError, TimeoutError) as error:
            raise await self._failure(worker, error) from error

    async def _receive(self, worker: Worker, deadline: float) -> Reply:
        try:
            async with asyncio.timeout_at(deadline):
                return await worker.receive()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            raise await self._failure(worker, error) from error

    async def _failure(self, worker: Worker, error: Exception) -> ExplainsvcError:
        """The error of a caller whose worker is dead or takes too long."""
        worker.kill()
        death = await worker.death()
        if isinstance(error, TimeoutError):
            return WorkerTimedOut(
                f"the work took longer than {self.limits.job_seconds:g} seconds",
                to_do="Ask for less (a smaller batch, fewer steps or samples), or raise job_seconds of the server",
            )
        return WorkerCrashed(
            f"the worker process died {death} while it computed",
            to_do="Send the request once more; if it happens again, the model or its inputs are the cause",
        )

    async def _acquire(self, model_folder: str) -> Worker:
        """An idle worker, one that knows the model if there is one; waits in line for the next one."""
        alive = [worker for worker in self.idle if worker.alive()]
        if alive:
            worker = next((worker for worker in alive if worker.model_folder == model_folder), alive[0])
            self.idle.remove(worker)
            return worker
        if len(self.waiting) >= self.limits.queue:
            raise QueueFull(f"{len(self.waiting)} requests wait already", to_do="Send the request again in a moment")
        place: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._offer(place.result())
            raise
        finally:
            if place in self.waiting:
                self.waiting.remove(place)

    def _offer(self, worker: Worker) -> None:
        """To the first in line, or to whoever comes."""
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                place.set_result(worker)
                return
        self.idle.append(worker)

    def _release(self, worker: Worker, healthy: bool) -> None:
        if healthy and worker.process.returncode is None:
            self._offer(worker)
        else:
            worker.kill()

    async def keep(self, worker: Worker) -> None:
        """Offer a worker, and a new one whenever it has died; until cancelled."""
        while True:
            self.workers.add(worker)
            self._offer(worker)
            death = await worker.death()
            LOG.warning("worker %d died %s; starting another", worker.process.pid, death)
            self.idle = [other for other in self.idle if other is not worker]
            self.workers.remove(worker)
            worker = await self._restarted()

    async def _restarted(self) -> Worker:
        while True:
            try:
                return await started(self.limits)
            except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
                LOG.error("a worker could not be started: %r", error)
                await asyncio.sleep(RESTART_SECONDS)


@asynccontextmanager
async def running(limits: Limits) -> AsyncIterator[Pool]:
    """A pool whose workers are all warm; they end with it."""
    pool = Pool(limits, set(await _all_started(limits)))
    keepers = [asyncio.create_task(pool.keep(worker)) for worker in pool.workers]
    try:
        yield pool
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await _end(pool.workers)


async def _all_started(limits: Limits) -> list[Worker]:
    """As many workers as there should be; when one does not start, none stays."""
    outcomes = await asyncio.gather(*(started(limits) for _ in range(limits.workers)), return_exceptions=True)
    workers = [outcome for outcome in outcomes if isinstance(outcome, Worker)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        await _end(workers)
        raise ExplainsvcError("a worker process could not be started", to_do="See its message above") from failures[0]
    return workers


async def _end(workers: Iterable[Worker]) -> None:
    for worker in workers:
        worker.kill()
        await worker.death()
