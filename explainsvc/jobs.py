"""Work in processes of its own: a pool of warm workers, so that what a model does to its process stays there.

A worker is forked by a process of its own that was started by exec (never by the server: gRPC's threads would not survive it)
and computes one job at a time. A job whose caller goes away or whose time is over is asked to stop, and its worker is killed
only if that takes too long. A worker that ends, for whatever reason, is replaced: by a spare at once, which is then replaced.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from explainpb.worker.v1.worker_pb2 import Job, Reply, Span
from explainsvc.codec.beside import whole_job, whole_reply
from explainsvc.codec.errors import from_error
from explainsvc.frames import Parts
from explainsvc.workers.batching import Batching
from explainsvc.workers.forking import Forking
from explainsvc.workers.limits import Limits as Limits
from explainsvc.workers.line import Line
from explainsvc.workers.process import Worker, all_started, death_in_words, end, started
from explainsvc.workers.quarantine import UNWRITTEN, Book, Quarantine
from explainsvc.workers.running import INTERIM, Running, Stage
from explainsvc.workers.stats import Listener, Nobody, PoolStats, nobody_asks

LOG = logging.getLogger(__name__)
RESTART_SECONDS = 1.0
"""Between attempts to start a worker when starting fails."""


@dataclass(eq=False)
class Pool:
    """The workers; made by ``running``.

    Attributes:
        limits: What it and they may use.
        active: Workers that compute or may.
        spares: Those that wait for an active one to die.
        idle: Of the active ones.
        line: Who waits for one.
        forking: Where workers come from.
        quarantine: Models that are refused.
        listener: Hears what happens; may be exchanged.
        spent: Hears what the time of a job went into, in the context of its caller; may be exchanged.
        restarts: Reason → how often.
        calming: Workers whose job was cancelled and has not ended yet.
        batching: Explanations that are computed as one.
    """

    limits: Limits
    quarantine: Quarantine
    line: Line[Worker]
    forking: Forking
    active: set[Worker] = field(default_factory=set)
    spares: list[Worker] = field(default_factory=list)
    idle: list[Worker] = field(default_factory=list)
    listener: Listener = field(default_factory=Nobody)
    spent: Callable[[Iterable[Span]], None] = nobody_asks
    restarts: Counter[str] = field(default_factory=Counter)
    calming: set[asyncio.Task[None]] = field(default_factory=set)
    batching: Batching = field(init=False)

    def __post_init__(self) -> None:
        self.batching = Batching(self.limits, self.result_late, self._batched)

    def _batched(self, requests: int) -> None:
        self.listener.batched(requests)

    def stats(self) -> PoolStats:
        """The pool now."""
        loaded = sum(len(worker.held) for worker in self.active)
        return PoolStats(
            len(self.active), len(self.idle), len(self.spares), len(self.line), dict(self.restarts), loaded,
            self.quarantine.models(),
        )  # fmt: skip

    def require_room(self) -> None:
        """Refuse what could not even wait before anything is done for it: under overload, refusals must be cheap.

        Raises:
            QueueFull: Too many jobs wait, and there is no batch that this one might join.
        """
        if not self.idle and not self.batching.open:
            self.line.require_room()

    async def run(self, job: Job) -> AsyncIterator[Reply]:
        """The replies to a job, the last one its result. Close the iterator to cancel the job.

        Raises:
            QueueFull: Too many jobs wait already.
            ModelQuarantined: Its model brought down too many workers.
            WorkerCrashed: The worker died.
            WorkerTimedOut: The job took too long.
            ExplainsvcError: Whatever the job itself ended in.
        """
        async with aclosing(self.run_late(job.model_folder, lambda: job)) as replies:  # type: ignore[type-var]  # it has aclose
            async for reply in replies:
                self.spent(reply.spans)
                yield reply

    async def run_late(self, folder: str, make: Callable[[], Job]) -> AsyncIterator[Reply]:
        """See ``run``; the job is made once there is a worker for it."""
        self.quarantine.check(model_of(folder))
        running = await self._given(folder, make)
        try:
            while running.stage == Stage.UNDER_WAY:
                yield whole_reply(*_no_error(*await running.reply()))
        finally:
            self._release(running)

    async def result(self, job: Job) -> Reply:
        """The last reply to a job; an explanation may be computed together with others."""
        return whole_reply(*await self.answer(job))

    async def answer(self, job: Job, request: bytes = b"") -> tuple[Reply, Parts]:
        """See ``result``; ``request`` is the one of the job where it is not in it, and large values may lie beside the reply."""
        reply, beside = await self._together(job, request)
        self.spent(reply.spans)
        return reply, beside

    async def _together(self, job: Job, request: bytes) -> tuple[Reply, Parts]:
        if job.HasField("explain") and (self.limits.batch_seconds > 0 or not self.idle):
            return await self.batching.result(whole_job(job, request)), ()
        if job.HasField("explain"):
            self._batched(1)  # whoever finds an idle worker waits for nobody
        return await self._answer(job.model_folder, lambda: job, request)

    async def result_late(self, folder: str, make: Callable[[], Job]) -> Reply:
        """See ``result`` and ``run_late``."""
        return whole_reply(*await self._answer(folder, make))

    async def _answer(self, folder: str, make: Callable[[], Job], request: bytes = b"") -> tuple[Reply, Parts]:
        self.quarantine.check(model_of(folder))
        running = await self._given(folder, make, request)
        try:
            answer: tuple[Reply, Parts] = Reply(), ()
            while running.stage == Stage.UNDER_WAY:
                answer = _no_error(*await running.reply())
            return answer
        finally:
            self._release(running)

    async def _given(self, folder: str, make: Callable[[], Job], request: bytes = b"") -> Running:
        """A worker that was given the job."""
        worker = await self._acquire(folder)
        try:
            job = make()
        except BaseException:
            self._offer(worker)
            raise
        running = Running(self.limits, worker, job, request, partial(self._acquire, folder))
        try:
            await running.begin()
        except BaseException:
            self._release(running)
            raise
        return running

    def _release(self, running: Running) -> None:
        """The worker goes back; one that still computes is asked to stop; what killed it is a strike against the model."""
        match running.stage:
            case Stage.DONE:
                self._offer(running.worker)
            case Stage.OUT_OF_MEMORY:
                running.worker.kill("memory")
                self.quarantine.strike(model_of(running.job.model_folder))
            case Stage.DEAD_OF_IT:
                self.quarantine.strike(model_of(running.job.model_folder))
            case Stage.UNDER_WAY | Stage.OUT_OF_TIME:
                task = asyncio.create_task(self._calmed(running))
                self.calming.add(task)
                task.add_done_callback(self.calming.discard)

    async def _calmed(self, running: Running) -> None:
        """Have a worker stop its job: it is offered again when it has, and killed when it does not in time."""
        worker, late = running.worker, running.stage == Stage.OUT_OF_TIME
        try:
            async with asyncio.timeout(self.limits.cancel_seconds):
                worker.cancel(running.job.number)
                await worker.jobs.sent()  # whoever gave up may have been in the middle of a job, which the worker still reads
                while (await worker.receive())[0].WhichOneof("event") in INTERIM:
                    pass
        except TimeoutError:
            worker.kill("timeout" if late else "cancel")
            if late:
                self.quarantine.strike(model_of(running.job.model_folder))
        except (ConnectionError, asyncio.IncompleteReadError):  # it has died, which its keeper sees
            worker.kill()
        else:
            self._offer(worker)

    async def _acquire(self, folder: str) -> Worker:
        """An idle worker, one that holds the model if there is one; waits in line for the next one."""
        clock = asyncio.get_running_loop().time
        start, model = clock(), model_of(folder)
        alive = [worker for worker in self.idle if worker.alive()]
        if alive:
            worker = next((worker for worker in alive if model in worker.held), alive[0])
            self.idle.remove(worker)
        else:
            worker = await self._in_line(model)
        self.listener.waited(clock() - start)
        return worker

    async def _in_line(self, model: str) -> Worker:
        place = self.line.join(model)
        try:
            return await place.given
        except asyncio.CancelledError:
            if place.given.done() and not place.given.cancelled():
                self._offer(place.given.result())
            raise
        finally:
            self.line.leave(place)

    def _offer(self, worker: Worker) -> None:
        """To whoever is next in line, or to whoever comes; one that keeps too much memory to nobody."""
        if self.limits.rss_bytes and worker.resident_bytes() > self.limits.rss_bytes:
            worker.kill("rss")
        elif not self.line.serve(worker):
            self.idle.append(worker)

    async def keep(self, device: str, worker: Worker | None = None) -> None:
        """Have one worker more, and a new one whenever it has died; until cancelled."""
        while True:
            worker = worker or await self._restarted(device)
            self._join(worker)
            code = await worker.death()
            reason = worker.ended or ("cpu" if code == -signal.SIGXCPU else "crash")
            LOG.warning("worker %d died %s (%s); starting another", worker.pid, death_in_words(code), reason)
            self._leave(worker)
            self.restarts[reason] += 1
            self.listener.restarted(reason)
            worker = None

    def _join(self, worker: Worker) -> None:
        """Among those that compute while they are too few, else among the spares."""
        if len(self.active) < len(self.limits.places):
            self.active.add(worker)
            self._offer(worker)
        else:
            self.spares.append(worker)

    def _leave(self, worker: Worker) -> None:
        """A spare takes the place of one that has died."""
        self.active.discard(worker)
        self.idle = [other for other in self.idle if other is not worker]
        self.spares = [other for other in self.spares if other is not worker]
        if self.spares and len(self.active) < len(self.limits.places):
            self._join(self.spares.pop(0))

    async def _restarted(self, device: str) -> Worker:
        while True:
            try:
                return await started(self.forking, device)
            except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
                LOG.error("a worker could not be started: %r", error)
                await asyncio.sleep(RESTART_SECONDS)


def _no_error(reply: Reply, beside: Parts) -> tuple[Reply, Parts]:
    """The reply; the error that it is."""
    if reply.HasField("error"):
        raise from_error(reply.error)
    return reply, beside


@lru_cache(4096)
def model_of(folder: str) -> str:
    """The digest of a stored model, by its folder; of an upload that is not stored yet, a name of its own."""
    return Path(folder).parent.name


@asynccontextmanager
async def running(limits: Limits, book: Book = UNWRITTEN) -> AsyncIterator[Pool]:
    """A pool whose workers are all warm, spares apart; they end with it. ``book``: of the models that bring them down."""
    quarantine = Quarantine(limits.strikes, limits.strike_seconds, limits.quarantine_seconds, book)
    pool = Pool(limits, quarantine, Line(limits.queue), Forking(limits))
    try:
        keepers = [asyncio.create_task(pool.keep(worker.device, worker)) for worker in await all_started(pool.forking)]
        await asyncio.sleep(0)  # each has joined
        keepers += [asyncio.create_task(pool.keep("")) for _ in range(0 if limits.devices else limits.spares)]
        try:
            yield pool
        finally:
            tasks = [*keepers, *pool.calming]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await end([*pool.active, *pool.spares])
    finally:
        await pool.forking.end()
