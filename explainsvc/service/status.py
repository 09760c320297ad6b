"""The one table of errors: the library's error ↔ the status of a failed call.

A failed call carries ``google.rpc.Status`` in ``grpc-status-details-bin``: ErrorInfo (reason, domain, and what, where,
expected, to_do and the error's details as metadata), BadRequest for violations, PreconditionFailure where the code is
FAILED_PRECONDITION, ResourceInfo where something was not found, RetryInfo where the same request may do better later.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from explainsvc import errors
from explainsvc.errors import ExplainsvcError

DOMAIN = "explainsvc"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[ExplainsvcError], grpc.StatusCode] = {
    errors.ModelMalformed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelUnsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.ModelLimitExceeded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ExternalDataForbidden: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UploadDigestMismatch: grpc.StatusCode.DATA_LOSS,
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidParameter: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownMethod: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TargetOutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotDifferentiable: grpc.StatusCode.UNIMPLEMENTED,
    errors.NothingToDifferentiate: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MethodNotApplicable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotTrainable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ExtraMissing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PassChangedFunction: grpc.StatusCode.INTERNAL,
    errors.ModelQuarantined: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.AuditNotFound: grpc.StatusCode.NOT_FOUND,
    errors.UploadNotFound: grpc.StatusCode.NOT_FOUND,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreCorrupt: grpc.StatusCode.DATA_LOSS,
    errors.JournalMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ServerStopping: grpc.StatusCode.UNAVAILABLE,
    errors.WorkerCrashed: grpc.StatusCode.INTERNAL,
    errors.WorkerOutOfMemory: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.WorkerTimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    ExplainsvcError: grpc.StatusCode.INTERNAL,
}
RESOURCES: dict[type[ExplainsvcError], str] = {
    errors.ModelNotFound: "model",
    errors.AuditNotFound: "audit",
    errors.UploadNotFound: "upload",
}
"""What was not found; its name is the error's detail ``name``."""
RETRIES: dict[type[ExplainsvcError], Duration] = {
    errors.QueueFull: Duration(seconds=1),
    errors.ServerStopping: Duration(seconds=5),
}
"""How long to wait before the same request is sent again."""
TEXTS = ("what", "where", "expected", "to_do")

LOG = logging.getLogger(__name__)
LARGEST = 7500
"""Bytes of a status as headers: more than 8 kB in all are refused by many clients."""
CUTS = ((10_000, 100), (1000, 20), (500, 10), (250, 8), (80, 5))
"""Characters a text, and number of violations; the first that fits is taken."""


def told(error: Exception) -> ExplainsvcError:
    """What a caller is told of an error; one that is not ours says nothing but that it happened, and the log the rest."""
    if isinstance(error, ExplainsvcError):
        return error
    LOG.error("unexpected error", exc_info=error)
    return ExplainsvcError("an unexpected error on the server", to_do="Report it with the server's log")


def to_status(error: ExplainsvcError) -> status_pb2.Status:
    """The status of an error, its texts cut only if it would not fit the headers of a response."""
    statuses = (_status_within(error, *cut) for cut in CUTS)
    return next(status for status in statuses if header_bytes(status) <= LARGEST)


def header_bytes(status: status_pb2.Status) -> int:
    """What the status takes: in base64, and its message once more, percent-encoded (gRPC over HTTP/2, Responses)."""
    message = sum(1 if 0x20 <= byte < 0x7F else 3 for byte in status.message.encode())
    return len(status.SerializeToString()) * 4 // 3 + message


def _status_within(error: ExplainsvcError, length: int, violations: int) -> status_pb2.Status:
    status = status_pb2.Status(code=CODES[type(error)].value[0], message=_cut(str(error), length))
    for detail in _details(error, length, violations):
        status.details.add().Pack(detail)
    return status


def _details(error: ExplainsvcError, length: int, violations: int) -> list[Message]:
    kind, texts = type(error), error.details | {key: getattr(error, key) for key in TEXTS}
    metadata = {key: _cut(text, length) for key, text in texts.items() if text}
    found: list[Message] = [details_pb2.ErrorInfo(reason=error.REASON, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        found.append(_bad_request(error, length, violations))
    if CODES[kind] == grpc.StatusCode.FAILED_PRECONDITION:
        found.append(_precondition(error, metadata))
    if kind in RESOURCES:
        name, text = metadata.get("name", ""), metadata.get("what", "")
        found.append(details_pb2.ResourceInfo(resource_type=RESOURCES[kind], resource_name=name, description=text))
    delay = _retry_delay(error)
    if delay is not None:
        found.append(details_pb2.RetryInfo(retry_delay=delay))
    return found


def _retry_delay(error: ExplainsvcError) -> Duration | None:
    """When the same call may be answered; None where it never will be."""
    if isinstance(error, errors.QuotaExceeded) and error.retry_seconds is not None:
        return Duration(nanos=round(error.retry_seconds % 1 * 1e9) % 10**9, seconds=math.floor(error.retry_seconds))
    return RETRIES.get(type(error))


def _precondition(error: ExplainsvcError, metadata: Mapping[str, str]) -> Message:
    """What must be otherwise before the same request can succeed; the subject is where it is."""
    said = [f"{words}{metadata[key]}" for key, words in (("what", ""), ("expected", "expected ")) if key in metadata]
    violation = {"type": error.REASON, "subject": metadata.get("where", ""), "description": "; ".join(said)}
    failure: Message = details_pb2.PreconditionFailure(violations=[violation])
    return failure


def _bad_request(error: ExplainsvcError, length: int, violations: int) -> Message:
    """The first violations; how many more there are stands in the last one."""
    fields = [
        details_pb2.BadRequest.FieldViolation(field=_cut(v.field, length), description=_cut(v.description, length))
        for v in error.violations[:violations]
    ]
    more = len(error.violations) - violations
    if more > 0:
        fields.append(details_pb2.BadRequest.FieldViolation(field="", description=f"and {more} more"))
    request: Message = details_pb2.BadRequest(field_violations=fields)
    return request


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def from_rpc_error(error: grpc.RpcError, target: str) -> ExplainsvcError:
    """The library's error that a failed call carries; for calls that never reached the server, one that says so."""
    return from_status(_status(error)) or _without_details(error, target)


def from_status(status: status_pb2.Status) -> ExplainsvcError | None:
    """The library's error that a status carries, if it does."""
    for detail in status.details:
        info = details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.reason in errors.ERRORS:
            what, *rest = (info.metadata.get(key, "") for key in TEXTS)
            more = {key: text for key, text in info.metadata.items() if key not in TEXTS}
            texts = dict(zip(TEXTS[1:], rest, strict=True))
            return errors.ERRORS[info.reason](what, **texts, violations=_violations(status), details=more)
    return None


def _status(error: Any) -> status_pb2.Status:
    """``google.rpc.Status`` from the trailing metadata, empty when there is none."""
    metadata = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(metadata.get(DETAILS_KEY, b""))


def _violations(status: status_pb2.Status) -> list[errors.Violation]:
    request = details_pb2.BadRequest()
    found = any(detail.Unpack(request) for detail in status.details)
    return [errors.Violation(v.field, v.description) for v in request.field_violations] if found else []


def _without_details(error: Any, target: str) -> ExplainsvcError:
    """Errors of gRPC itself."""
    code, text = error.code(), error.details() or ""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.WorkerTimedOut("the timeout of the call passed", where=target, to_do="Give it a longer timeout")
    if code == grpc.StatusCode.UNAVAILABLE:
        return ExplainsvcError(f"no answer: {text}", where=target, to_do="Start a server: explainsvc serve")
    return ExplainsvcError(f"{code.name}: {text}", where=target)
