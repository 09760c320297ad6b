"""AuditService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.json_format import ParseDict

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1 import error_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceServicer
from explainsvc import store
from explainsvc.codec.audits import written_out
from explainsvc.codec.errors import from_error
from explainsvc.codec.models import to_timestamp
from explainsvc.codec.results import to_row, to_verdicts
from explainsvc.errors import InvalidInput, ServerStopping, Violation
from explainsvc.report.report import Report
from explainsvc.service.audit_runs import AuditRuns
from explainsvc.service.backend import Backend, chunks
from explainsvc.service.pages import from_token, page_size, to_token
from explainsvc.store import StoredAudit

WATCH = "WatchAudit it after the last sequence that you have"
STATES = {
    store.RUNNING: pb.AUDIT_STATE_RUNNING,
    store.SUCCEEDED: pb.AUDIT_STATE_SUCCEEDED,
    store.FAILED: pb.AUDIT_STATE_FAILED,
    store.CANCELLED: pb.AUDIT_STATE_CANCELLED,
    store.ABORTED: pb.AUDIT_STATE_ABORTED,
}


class AuditService(AuditServiceServicer):
    """Audits: run with progress, watched, cancelled, kept with their report."""

    def __init__(self, backend: Backend, runs: AuditRuns) -> None:
        self.backend = backend
        self.runs = runs

    async def CreateAudit(self, request: pb.CreateAuditRequest, context: Any) -> AsyncIterator[pb.CreateAuditResponse]:
        """Accept an audit; its events as they come. With validate_only what it would do, and nothing else."""
        if request.validate_only:
            job = await self.backend.job(request.model_digest, validate_audit=written_out(request))
            yield pb.CreateAuditResponse(validation=(await self.backend.pool.result(job)).audit_validation)
            return
        run = await self.runs.start(request)
        try:
            async with aclosing(self._events(run.audit.audit_id, 0)) as events:  # type: ignore[type-var]  # it has aclose
                async for event in events:
                    yield pb.CreateAuditResponse(**event)
        finally:
            self.runs.leave(run)

    async def WatchAudit(self, request: pb.WatchAuditRequest, context: Any) -> AsyncIterator[pb.WatchAuditResponse]:
        """The events of an audit behind a row."""
        async with aclosing(self._events(request.audit_id, request.after_sequence)) as events:  # type: ignore[type-var]  # as above
            async for event in events:
                yield pb.WatchAuditResponse(**event)

    async def GetAudit(self, request: pb.GetAuditRequest, context: Any) -> Any:
        """An audit as it is stored."""
        return pb.GetAuditResponse(audit=await self._whole(request.audit_id))

    async def ListAudits(self, request: pb.ListAuditsRequest, context: Any) -> Any:
        """A page of audits."""
        size = page_size(request.page_size)
        before: Any = from_token(request, (float, str))
        audits = await asyncio.to_thread(self.backend.store.audits, before, size + 1)
        token = to_token(request, (audits[size - 1].created, audits[size - 1].audit_id)) if len(audits) > size else ""
        return pb.ListAuditsResponse(audits=map(self._facts, audits[:size]), next_page_token=token)

    async def CancelAudit(self, request: pb.CancelAuditRequest, context: Any) -> Any:
        """End an audit that runs."""
        self.backend.store.audit(request.audit_id)
        await self.runs.cancel(request.audit_id)
        return pb.CancelAuditResponse(audit=await self._whole(request.audit_id))

    async def DeleteAudit(self, request: pb.DeleteAuditRequest, context: Any) -> Any:
        """Forget an audit."""
        self.backend.store.audit(request.audit_id)
        await self.runs.cancel(request.audit_id)
        await asyncio.to_thread(self.backend.store.delete_audit, request.audit_id)
        return pb.DeleteAuditResponse()

    async def DownloadReport(self, request: pb.DownloadReportRequest, context: Any) -> AsyncIterator[pb.DownloadReportResponse]:
        """The report in the form asked for, in chunks."""
        data = await asyncio.to_thread(self._report, request.audit_id, request.format)
        for chunk in chunks(data):
            yield pb.DownloadReportResponse(chunk=chunk, total_bytes=len(data))

    async def _events(self, audit_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        """The fields of each event; one that failed or was aborted ends in its error."""
        if after < 0:
            raise InvalidInput("no event has this sequence", violations=[Violation("after_sequence", "is negative")])
        yield {"started": self._facts(self.backend.store.audit(audit_id)), "sequence": after}
        run = self.runs.runs.get(audit_id)
        if run is not None:
            async with aclosing(run.events(after)) as events:  # type: ignore[type-var]  # as above
                async for after, event in events:
                    yield {"row" if isinstance(event, pb.AuditRow) else "progress": event, "sequence": after}
        audit = await self._whole(audit_id)
        if audit.state == pb.AUDIT_STATE_RUNNING:
            raise ServerStopping("the server stops; the audit goes on when it runs again", where=audit_id, to_do=WATCH)
        if audit.HasField("error"):
            raise from_error(audit.error)
        for row in audit.rows[after:] if run is None else ():
            after += 1
            yield {"row": row, "sequence": after}
        yield {"finished": audit, "sequence": after}

    def _facts(self, audit: StoredAudit) -> pb.Audit:
        """The message of an audit, without what its report says."""
        run = self.runs.runs.get(audit.audit_id)
        return pb.Audit(
            audit_id=audit.audit_id,
            state=STATES[audit.state],
            model_digest=audit.model_digest,
            create_time=to_timestamp(audit.created),
            end_time=None if audit.ended is None else to_timestamp(audit.ended),
            error=None if audit.error is None else ParseDict(audit.error, error_pb2.Error()),
            progress=None if run is None else run.progress,
        )

    async def _whole(self, audit_id: str) -> pb.Audit:
        """The message of an audit, with what its report says."""
        audit = self._facts(self.backend.store.audit(audit_id))
        if audit.state == pb.AUDIT_STATE_SUCCEEDED:
            report = Report.from_json(json.loads(await asyncio.to_thread(self.backend.store.report, audit_id)))
            audit.rows.extend(to_row(row) for row in report.rows)
            audit.verdicts.extend(to_verdicts(report))
        return audit

    def _report(self, audit_id: str, form: pb.ReportFormat) -> bytes:
        data = self.backend.store.report(audit_id)
        return Report.from_json(json.loads(data)).to_html().encode() if form == pb.REPORT_FORMAT_HTML else data
