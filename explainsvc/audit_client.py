"""The Python client's part for AuditService; ``Client.audits``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import grpc

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainsvc.checks.pace import Standing
from explainsvc.checks.rows import Row
from explainsvc.codec.audits import AuditQuestion, to_audit_request
from explainsvc.codec.results import from_progress, from_row
from explainsvc.method import silent
from explainsvc.report.report import Report
from explainsvc.service.status import from_rpc_error

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0)
"""Seconds before each attempt to watch again; the first event that comes begins anew."""
BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""What a call ends in when its server is gone or goes."""

CANCEL_SECONDS = 5.0

OnStanding = Callable[[Standing], None]
OnRow = Callable[[Row], None]
Event = Any
"""``CreateAuditResponse`` or ``WatchAuditResponse``, whose fields are the same."""


class Audits:
    """The audits of a server."""

    def __init__(self, stub: AuditServiceStub, target: str) -> None:
        self._stub = stub
        self._target = target

    def run(
        self, digest: str, inputs: Mapping[str, Any], question: AuditQuestion, on_standing: OnStanding, on_row: OnRow | None
    ) -> Report:
        """Create an audit and wait for its report; see ``Client.audit``."""
        request = to_audit_request(digest, inputs, question, keep_running=True)
        with typed_errors(self._target):
            events = self._events(self._stub.CreateAudit(request), "", 0)
            audit_id = next(events).started.audit_id
            with self._cancelled_by_us(audit_id):
                _hear(events, on_standing, on_row or silent)
        return self.report(audit_id)

    def watch(self, audit_id: str, *, on_standing: OnStanding = silent, on_row: OnRow = silent, after: int = 0) -> Report:
        """Wait for the report of an audit that runs; ``on_row`` hears of its rows behind the first ``after``."""
        with typed_errors(self._target):
            _hear(self._events(self._watched(audit_id, after), audit_id, after), on_standing, on_row)
        return self.report(audit_id)

    def start(self, digest: str, inputs: Mapping[str, Any], **question: Any) -> str:
        """Create an audit that keeps running whoever listens; its id."""
        request = to_audit_request(digest, inputs, AuditQuestion(**question), keep_running=True)
        with typed_errors(self._target):
            stream = self._stub.CreateAudit(request)
            audit_id: str = next(stream).started.audit_id
            stream.cancel()
        return audit_id

    def get(self, audit_id: str) -> pb.Audit:
        """An audit, running or ended."""
        with typed_errors(self._target):
            found: pb.Audit = self._stub.GetAudit(pb.GetAuditRequest(audit_id=audit_id)).audit
        return found

    def list(self) -> list[pb.Audit]:
        """All audits, the newest first, without their rows."""
        found: list[pb.Audit] = []
        token: str | None = ""
        with typed_errors(self._target):
            while token is not None:
                page = self._stub.ListAudits(pb.ListAuditsRequest(page_token=token))
                found += page.audits
                token = page.next_page_token or None
        return found

    def cancel(self, audit_id: str) -> pb.Audit:
        """End an audit that runs; the audit as it is then."""
        with typed_errors(self._target):
            found: pb.Audit = self._stub.CancelAudit(pb.CancelAuditRequest(audit_id=audit_id)).audit
        return found

    def delete(self, audit_id: str) -> None:
        """Forget an audit."""
        with typed_errors(self._target):
            self._stub.DeleteAudit(pb.DeleteAuditRequest(audit_id=audit_id))

    def report(self, audit_id: str) -> Report:
        """The report of an audit that has ended."""
        request = pb.DownloadReportRequest(audit_id=audit_id)
        with typed_errors(self._target):
            data = b"".join(part.chunk for part in self._stub.DownloadReport(request))
        return Report.from_json(json.loads(data))

    def _events(self, stream: Iterator[Event], audit_id: str, after: int) -> Iterator[Event]:
        """The events of an audit up to its last one, by as many streams as it takes."""
        waits = iter(WAITS)
        while True:
            try:
                for event in stream:
                    audit_id, after, waits = audit_id or event.started.audit_id, event.sequence, iter(WAITS)
                    yield event
                return
            except grpc.RpcError as error:
                wait = next(waits, None)
                if not audit_id or wait is None or error.code() not in BROKEN:
                    raise
            time.sleep(wait)
            stream = self._watched(audit_id, after)

    def _watched(self, audit_id: str, after: int) -> Iterator[Event]:
        events: Iterator[Event] = self._stub.WatchAudit(pb.WatchAuditRequest(audit_id=audit_id, after_sequence=after))
        return events

    @contextmanager
    def _cancelled_by_us(self, audit_id: str) -> Iterator[None]:
        """An audit whose caller stops listening is cancelled; one that failed, or whose server is gone, is not."""
        try:
            yield
        except grpc.RpcError:
            raise
        except BaseException:
            with suppress(grpc.RpcError):
                self._stub.CancelAudit(pb.CancelAuditRequest(audit_id=audit_id), timeout=CANCEL_SECONDS)
            raise


def _hear(events: Iterator[Event], on_standing: OnStanding, on_row: OnRow) -> None:
    for event in events:
        match event.WhichOneof("event"):
            case "progress":
                on_standing(from_progress(event.progress))
            case "row":
                on_row(from_row(event.row))


@contextmanager
def typed_errors(target: str) -> Iterator[None]:
    """The errors of calls to this server as the library's own."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, target) from None
