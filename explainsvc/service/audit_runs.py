"""Audits that run: each a task of the server, whose worker may die and whose callers may come and go.

What was asked lies in the store, what is finished in a journal. A worker that dies is followed by another, which goes on from
the journal; so does the next server. After ``ATTEMPTS`` that have begun without a further part being finished, by workers or
servers, the audit fails: a model that kills its worker does not run forever.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.worker.v1.worker_pb2 import AuditWork
from explainsvc import store
from explainsvc.checks.journal import Finished
from explainsvc.codec.audits import written_out
from explainsvc.codec.results import from_finished, to_finished
from explainsvc.errors import QueueFull, WorkerCrashed
from explainsvc.journals import contents, kept
from explainsvc.service.backend import Backend, viewer
from explainsvc.service.endings import error_fields, state_of
from explainsvc.service.model_uploads import check_id
from explainsvc.service.profiles import fill
from explainsvc.store import Asked, StoredAudit

LOG = logging.getLogger(__name__)
ATTEMPTS = 3
FULL_SECONDS = 1.0
"""Between attempts to get a worker while the queue is full: an audit that was accepted is not refused later."""
Event = pb.Progress | pb.AuditRow


@dataclass(eq=False)
class Run:
    """An audit that runs, and what its watchers hear of it.

    Attributes:
        audit: As it is stored.
        request: What was asked.
        rows: Those that are known, in order; after a crash the same ones come again, which nobody hears.
        progress: The latest.
        changed: Set, and replaced by a new one, whenever there is news.
        over: Whether it has ended, and the store knows how.
        task: Computes it.
        creators: The calls of CreateAudit that listen: several where one with a request_id was repeated.
    """

    audit: StoredAudit
    request: pb.CreateAuditRequest
    rows: list[pb.AuditRow] = field(default_factory=list)
    progress: pb.Progress | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False
    task: asyncio.Task[bytes] | None = None
    creators: int = 0

    def news(self) -> None:
        """Wakes the watchers."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def events(self, after: int) -> AsyncIterator[tuple[int, Event]]:
        """Rows behind the first ``after``, and the latest progress between them, each with the number of rows so far.

        Ends with the audit, or with the server.
        """
        told = None
        while True:
            changed, over = self.changed, self.over
            while after < len(self.rows):
                after += 1
                yield after, self.rows[after - 1]
            if self.progress is not None and self.progress is not told:
                told = self.progress
                yield after, told
            elif over:
                return
            elif changed is self.changed:
                await changed.wait()


@dataclass(eq=False)
class AuditRuns:
    """The running audits of a server; see :func:`running_audits`.

    Attributes:
        backend: The store and the workers.
        runs: By the audit's id.
        slots: One worker is left to other requests where there are several.
        stopping: Whether the server stops: nobody cancels an audit by going away any more.
    """

    backend: Backend
    slots: asyncio.Semaphore
    runs: dict[str, Run] = field(default_factory=dict)
    stopping: bool = False

    async def start(self, request: pb.CreateAuditRequest) -> Run:
        """Accept an audit.

        Raises:
            InvalidParameter: The preset or plan is not valid.
            ModelNotFound: There is no such model.
            QueueFull: As many audits wait as may wait.
            RequestIdReused: Another audit was asked for under this request's id.
        """
        check_id("request_id", request.request_id)
        body = await asyncio.to_thread(_body, request) if request.request_id else ""
        asked = Asked(viewer().name, "CreateAudit", request.request_id, body)
        earlier = await asyncio.to_thread(self.backend.whole.answered, asked)
        if earlier is not None:
            return self._earlier(earlier.decode(), request)
        whole = written_out(request)
        model = self.backend.store.model(whole.model_digest)
        fill(whole, lambda: model)
        if len(self.runs) >= self.backend.config.queue + self.backend.config.workers:
            raise QueueFull(f"{len(self.runs)} audits run or wait already", to_do="Send the request again in a moment")
        audit = StoredAudit(uuid.uuid4().hex, store.RUNNING, whole.model_digest, round(time.time(), 6), owner=asked.owner)
        run = Run(audit, whole)
        accept = asyncio.to_thread(self.backend.whole.audits.accept, audit, whole.SerializeToString(), asked)
        accepted = asyncio.ensure_future(accept)
        try:
            audit_id = await asyncio.shield(accepted)
        except asyncio.CancelledError:  # its caller has gone before it heard the audit's id, but the store may know it
            await asyncio.wait([accepted])
            if accepted.exception() is None and accepted.result() == audit.audit_id:
                self._begin(run)
                self.leave(run) if request.request_id else _cancel(run)  # without it nobody can ever ask for this one
            raise
        return self._begin(run) if audit_id == audit.audit_id else self._earlier(audit_id, request)

    def _earlier(self, audit_id: str, request: pb.CreateAuditRequest) -> Run:
        """The audit that the same request has made before, whether or not it still runs."""
        run = self.runs.get(audit_id) or Run(self.backend.store.audit(audit_id), request, over=True)
        run.creators += 1
        return run

    def resume(self) -> None:
        """Go on with what ran when the last server ended, the oldest first."""
        for audit in reversed(self.backend.whole.audits.listed(store.SERVER)):
            asked = self.backend.whole.audits.request(audit.audit_id) if audit.state == store.RUNNING else None
            if asked is not None:
                LOG.info("audit %s goes on", audit.audit_id)
                self._begin(Run(audit, pb.CreateAuditRequest.FromString(asked)))

    def leave(self, run: Run) -> None:
        """A caller that created it is gone: the last one cancels it, unless it was asked to keep running."""
        run.creators -= 1
        if run.creators <= 0 and not (run.over or run.request.keep_running or self.stopping):
            _cancel(run)

    async def cancel(self, audit_id: str) -> None:
        """End an audit if it runs; it is stored as cancelled when this returns."""
        run = self.runs.get(audit_id)
        if run is not None:
            await asyncio.wait([_cancel(run)])

    async def ended(self, audit_id: str) -> None:
        """Returns when the audit has ended, or at once where it does not run."""
        run = self.runs.get(audit_id)
        while run is not None and not run.over:
            await run.changed.wait()

    async def park(self) -> None:
        """Stop all; they stay what they are in the store: running."""
        self.stopping = True
        tasks = [_cancel(run) for run in self.runs.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, run: Run) -> Run:
        self.runs[run.audit.audit_id] = run
        run.creators = 1
        run.task = asyncio.create_task(self._report(run))
        run.task.add_done_callback(partial(self._ended, run))  # called even where it is cancelled before it starts
        return run

    def _ended(self, run: Run, task: asyncio.Task[bytes]) -> None:
        """However it ended, the store knows; an audit that only stops with the server runs on there."""
        del self.runs[run.audit.audit_id]
        error = None if task.cancelled() else task.exception()
        try:
            if not (task.cancelled() and self.stopping):
                run.audit = dataclasses.replace(run.audit, state=state_of(task), ended=time.time(), error=error_fields(error))
            self.backend.whole.audits.save(run.audit, None if task.cancelled() or error else task.result())
        finally:
            run.over = True
            run.news()

    async def _report(self, run: Run) -> bytes:
        """The report, by as many workers as it takes."""
        async with self.slots:
            while True:
                finished = await asyncio.to_thread(_finished, self.backend.whole.audits.journal(run.audit.audit_id))
                self._count(run, len(finished))
                try:
                    return await self._attempt(run, finished)
                except WorkerCrashed as error:
                    LOG.warning("audit %s: %s", run.audit.audit_id, error)
                except QueueFull:
                    _uncount(run)
                    await asyncio.sleep(FULL_SECONDS)
                except asyncio.CancelledError:
                    _uncount(run)
                    raise

    def _count(self, run: Run, parts: int) -> None:
        """One more attempt, unless enough of them have led to nothing."""
        attempts = 1 if parts > run.audit.parts else run.audit.attempts + 1
        if attempts > ATTEMPTS:
            raise WorkerCrashed(
                f"the process that computes it died {ATTEMPTS} times in a row without finishing a part of it",
                where="" if run.progress is None else run.progress.what,
                to_do="Leave this method or check out, or give the worker more memory; the server's log says how it died",
            )
        run.audit = dataclasses.replace(run.audit, attempts=attempts, parts=parts)
        self.backend.whole.audits.save(run.audit)

    async def _attempt(self, run: Run, finished: Sequence[Finished]) -> bytes:
        """The report by one worker, which goes on from what is finished."""
        work = AuditWork(request=run.request, finished=map(to_finished, finished))
        job, heard = await self.backend.job(run.audit.model_digest, store.SERVER, audit=work), 0
        with kept(self.backend.whole.audits.journal(run.audit.audit_id)) as journal:
            async with aclosing(self.backend.pool.run(job)) as replies:  # type: ignore[type-var]  # it has aclose
                async for reply in replies:
                    match reply.WhichOneof("event"):
                        case "report":
                            return reply.report
                        case "begun":
                            await asyncio.to_thread(journal.begin, reply.begun.question)
                        case "part":
                            await asyncio.to_thread(journal.record, from_finished(reply.part))
                        case "row":
                            run.rows[heard : heard + 1] = [reply.row]
                            heard += 1
                        case "progress":
                            run.progress = reply.progress
                    run.news()
        raise AssertionError("a job ends in its report or in an error")


def _cancel(run: Run) -> asyncio.Task[bytes]:
    assert run.task is not None, "a run that others know has begun"
    run.task.cancel()
    return run.task


def _body(request: pb.CreateAuditRequest) -> str:
    """What is asked, whatever its id is."""
    whole = pb.CreateAuditRequest()
    whole.CopyFrom(request)
    whole.ClearField("request_id")
    return hashlib.sha256(whole.SerializeToString(deterministic=True)).hexdigest()


def _finished(journal: Path) -> Sequence[Finished]:
    return contents(journal.read_bytes()).finished if journal.is_file() else ()


def _uncount(run: Run) -> None:
    """An attempt that nobody let begin, or that ended with the server, says nothing about the audit."""
    run.audit = dataclasses.replace(run.audit, attempts=run.audit.attempts - 1)


@asynccontextmanager
async def running_audits(backend: Backend) -> AsyncIterator[AuditRuns]:
    """Those of the last server go on now; at the end all stop where they are, for the next one."""
    runs = AuditRuns(backend, asyncio.Semaphore(max(1, backend.config.workers - 1)))
    runs.resume()
    try:
        yield runs
    finally:
        await runs.park()
