"""google.longrunning.Operations: audits once more, as clients of that interface poll and cancel long work.

The operation ``audits/{audit_id}`` is the audit of that id: metadata is the audit as ListAudits tells it, with its progress;
the response is the audit as GetAudit returns it.
"""

# ruff: noqa: N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsServicer
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, status_pb2

from explainpb.v1 import audit_service_pb2 as pb
from explainsvc.codec.errors import from_error
from explainsvc.errors import AuditNotFound, InvalidInput, Violation
from explainsvc.service.audits import AuditService
from explainsvc.service.status import to_status

COLLECTION = "audits"
LONGEST_WAIT = 60.0
"""Seconds that WaitOperation waits at most; it may return sooner than asked."""


class OperationsService(OperationsServicer):  # type: ignore[misc]  # untyped
    """Audits as operations."""

    def __init__(self, audits: AuditService) -> None:
        self.audits = audits

    async def GetOperation(self, request: Any, context: Any) -> Any:
        """An audit, as an operation."""
        return await self._operation(_audit_id(request.name), context)

    async def ListOperations(self, request: Any, context: Any) -> Any:
        """A page of audits, whose responses are without rows and verdicts; filters are not known."""
        wrong = [Violation("filter", "is not supported")] if request.filter else []
        if request.name not in ("", COLLECTION):
            wrong.append(Violation("name", f'is {request.name!r}, expected "{COLLECTION}"'))
        if wrong:
            raise InvalidInput("the operations cannot be listed so", violations=wrong)
        asked = pb.ListAuditsRequest(page_size=request.page_size, page_token=request.page_token)
        page = await self.audits.ListAudits(asked, context)
        operations = [_to_operation(audit) for audit in page.audits]
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=page.next_page_token)

    async def CancelOperation(self, request: Any, context: Any) -> Any:
        """End an audit that runs."""
        await self.audits.CancelAudit(pb.CancelAuditRequest(audit_id=_audit_id(request.name)), context)
        return Empty()

    async def DeleteOperation(self, request: Any, context: Any) -> Any:
        """Forget an audit, as DeleteAudit does: one that runs is cancelled first."""
        await self.audits.DeleteAudit(pb.DeleteAuditRequest(audit_id=_audit_id(request.name)), context)
        return Empty()

    async def WaitOperation(self, request: Any, context: Any) -> Any:
        """An audit once it has ended, or as it is when the time is over."""
        audit_id = _audit_id(request.name)
        seconds = request.timeout.seconds + request.timeout.nanos / 1e9 if request.HasField("timeout") else LONGEST_WAIT
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.0), LONGEST_WAIT)):
                await self.audits.runs.ended(audit_id)
        return await self._operation(audit_id, context)

    async def _operation(self, audit_id: str, context: Any) -> Any:
        response = await self.audits.GetAudit(pb.GetAuditRequest(audit_id=audit_id), context)
        return _to_operation(response.audit)


def _to_operation(audit: pb.Audit) -> Any:
    """The message of an operation."""
    operation = operations_pb2.Operation(name=f"{COLLECTION}/{audit.audit_id}", done=audit.state != pb.AUDIT_STATE_RUNNING)
    facts = pb.Audit()
    facts.CopyFrom(audit)
    for field in ("rows", "verdicts"):
        facts.ClearField(field)
    operation.metadata.Pack(facts)
    if audit.state == pb.AUDIT_STATE_SUCCEEDED:
        operation.response.Pack(audit)
    elif operation.done:
        operation.error.CopyFrom(_failure(audit))
    return operation


def _failure(audit: pb.Audit) -> status_pb2.Status:
    """Why an ended audit has no report; one that was cancelled has no error of its own."""
    if audit.HasField("error"):
        return to_status(from_error(audit.error))
    return status_pb2.Status(code=code_pb2.CANCELLED, message="the audit was cancelled")


def _audit_id(name: str) -> str:
    collection, _, audit_id = name.partition("/")
    if collection != COLLECTION:
        raise AuditNotFound(
            f"no operation is called {name[:80]!r}", where="name", expected="audits/{audit_id}", details={"name": name[:80]}
        )
    return audit_id
