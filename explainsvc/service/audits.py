"""AuditService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1 import error_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceServicer
from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc import store
from explainsvc.codec.errors import to_error
from explainsvc.codec.results import to_row, to_verdicts
from explainsvc.errors import ExplainsvcError
from explainsvc.report.report import Report
from explainsvc.service.backend import Backend, chunks
from explainsvc.service.models import to_timestamp
from explainsvc.store import StoredAudit

STATES = {
    store.RUNNING: pb.AUDIT_STATE_RUNNING,
    store.SUCCEEDED: pb.AUDIT_STATE_SUCCEEDED,
    store.FAILED: pb.AUDIT_STATE_FAILED,
    store.CANCELLED: pb.AUDIT_STATE_CANCELLED,
    store.ABORTED: pb.AUDIT_STATE_ABORTED,
}


class AuditService(AuditServiceServicer):
    """Audits: run with progress, kept with their report."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def CreateAudit(self, request: pb.CreateAuditRequest, context: Any) -> AsyncIterator[pb.CreateAuditResponse]:
        """Run an audit, its events as they come."""
        job = self.backend.job(request.model_digest, audit=request)
        audit = StoredAudit(uuid.uuid4().hex, store.RUNNING, request.model_digest, time.time())
        self.backend.store.save_audit(audit)
        yield pb.CreateAuditResponse(started=_to_audit(audit))
        async with aclosing(self._events(job, audit)) as events:  # type: ignore[type-var]  # an async generator has aclose
            async for event in events:
                yield event
        yield pb.CreateAuditResponse(finished=self._audit(audit.audit_id))

    async def GetAudit(self, request: pb.GetAuditRequest, context: Any) -> Any:
        """An audit as it is stored."""
        return pb.GetAuditResponse(audit=await asyncio.to_thread(self._audit, request.audit_id))

    async def DownloadReport(self, request: pb.DownloadReportRequest, context: Any) -> AsyncIterator[pb.DownloadReportResponse]:
        """The report in the form asked for, in chunks."""
        data = await asyncio.to_thread(self._report, request.audit_id, request.format)
        for chunk in chunks(data):
            yield pb.DownloadReportResponse(chunk=chunk, total_bytes=len(data))

    async def _events(self, job: Job, audit: StoredAudit) -> AsyncIterator[pb.CreateAuditResponse]:
        """Progress and rows; however it ends, the store knows."""
        state, error, report = store.CANCELLED, None, None
        try:
            async with aclosing(self.backend.pool.run(job)) as replies:  # type: ignore[type-var]  # as above
                async for reply in replies:
                    if reply.HasField("report"):
                        state, report = store.SUCCEEDED, reply.report
                    else:
                        yield _to_event(reply)
        except ExplainsvcError as failure:
            state, error = store.FAILED, MessageToDict(to_error(failure), preserving_proto_field_name=True)
            raise
        finally:
            ended = dataclasses.replace(audit, state=state, ended=time.time(), error=error)
            self.backend.store.save_audit(ended, report)

    def _audit(self, audit_id: str) -> pb.Audit:
        audit = _to_audit(self.backend.store.audit(audit_id))
        if audit.state == pb.AUDIT_STATE_SUCCEEDED:
            report = Report.from_json(json.loads(self.backend.store.report(audit_id)))
            audit.rows.extend(to_row(row) for row in report.rows)
            audit.verdicts.extend(to_verdicts(report))
        return audit

    def _report(self, audit_id: str, form: pb.ReportFormat) -> bytes:
        data = self.backend.store.report(audit_id)
        return Report.from_json(json.loads(data)).to_html().encode() if form == pb.REPORT_FORMAT_HTML else data


def _to_event(reply: Reply) -> pb.CreateAuditResponse:
    if reply.HasField("row"):
        return pb.CreateAuditResponse(row=reply.row)
    return pb.CreateAuditResponse(progress=reply.progress)


def _to_audit(audit: StoredAudit) -> pb.Audit:
    """The message of an audit, without what its report says."""
    return pb.Audit(
        audit_id=audit.audit_id,
        state=STATES[audit.state],
        model_digest=audit.model_digest,
        create_time=to_timestamp(audit.created),
        end_time=None if audit.ended is None else to_timestamp(audit.ended),
        error=None if audit.error is None else ParseDict(audit.error, error_pb2.Error()),
    )
