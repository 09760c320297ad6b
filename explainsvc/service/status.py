"""The one table of errors, and the interceptor that applies it to every call.

A failed call carries ``google.rpc.Status`` in ``grpc-status-details-bin``: ErrorInfo (reason, domain, and what, where,
expected, to_do as metadata), BadRequest for violations, ResourceInfo, RetryInfo.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from explainsvc import errors
from explainsvc.errors import ExplainsvcError

LOG = logging.getLogger(__name__)
DOMAIN = "explainsvc"
DETAILS_KEY = "grpc-status-details-bin"
OWN = "/explainsvc."
"""Services whose errors are ours; health and reflection have their own."""

CODES: dict[type[ExplainsvcError], grpc.StatusCode] = {
    errors.ModelMalformed: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelUnsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.ModelLimitExceeded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ExternalDataForbidden: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UploadDigestMismatch: grpc.StatusCode.DATA_LOSS,
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidParameter: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownMethod: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TargetOutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.NotDifferentiable: grpc.StatusCode.UNIMPLEMENTED,
    errors.NothingToDifferentiate: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MethodNotApplicable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PassChangedFunction: grpc.StatusCode.INTERNAL,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.AuditNotFound: grpc.StatusCode.NOT_FOUND,
    errors.QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.WorkerCrashed: grpc.StatusCode.INTERNAL,
    errors.WorkerOutOfMemory: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.WorkerTimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    ExplainsvcError: grpc.StatusCode.INTERNAL,
}
RESOURCES = {errors.ModelNotFound: "model", errors.AuditNotFound: "audit"}
RETRY = Duration(seconds=1)

TEXT = 700
"""Longest text of an error on the wire, in characters: headers of more than 8 kB are refused by many clients."""
VIOLATIONS = 12


def to_status(error: ExplainsvcError) -> status_pb2.Status:
    """The status of an error."""
    status = status_pb2.Status(code=CODES[type(error)].value[0], message=_cut(str(error)))
    for detail in _details(error):
        status.details.add().Pack(detail)
    return status


def _details(error: ExplainsvcError) -> list[Message]:
    texts = {"what": error.what, "where": error.where, "expected": error.expected, "to_do": error.to_do}
    metadata = {key: _cut(text) for key, text in texts.items() if text}
    found: list[Message] = [details_pb2.ErrorInfo(reason=error.REASON, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        found.append(_bad_request(error))
    if type(error) in RESOURCES:
        found.append(details_pb2.ResourceInfo(resource_type=RESOURCES[type(error)], description=_cut(error.what)))
    if isinstance(error, errors.QueueFull):
        found.append(details_pb2.RetryInfo(retry_delay=RETRY))
    return found


def _bad_request(error: ExplainsvcError) -> Message:
    """The first violations; how many more there are stands in the last one."""
    fields = [
        details_pb2.BadRequest.FieldViolation(field=_cut(v.field, 100), description=_cut(v.description, 200))
        for v in error.violations[:VIOLATIONS]
    ]
    more = len(error.violations) - VIOLATIONS
    if more > 0:
        fields.append(details_pb2.BadRequest.FieldViolation(field="", description=f"and {more} more"))
    request: Message = details_pb2.BadRequest(field_violations=fields)
    return request


def _cut(text: str, length: int = TEXT) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


async def fail(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End the call with the error's status; an error that is not ours says nothing but that it happened."""
    if not isinstance(error, ExplainsvcError):
        LOG.error("unexpected error", exc_info=error)
        error = ExplainsvcError("an unexpected error on the server", to_do="Report it with the server's log")
    status = to_status(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(CODES[type(error)], status.message, trailing_metadata=trailing)


def _unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request, context)
        except Exception as error:  # the edge of the server: every error becomes a status
            await fail(context, error)

    return guarded


def _stream(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async with aclosing(method(request, context)) as responses:  # type: ignore[type-var]  # a generator has aclose
                async for response in responses:
                    yield response
        except Exception as error:  # as above
            await fail(context, error)

    return guarded


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Turns the errors of our services into statuses."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a call with its errors caught."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OWN):
            return handler  # type: ignore[no-any-return]
        coding = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_stream(handler.unary_stream), *coding)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary), *coding)
        return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary), *coding)


def from_rpc_error(error: grpc.RpcError, target: str) -> ExplainsvcError:
    """The library's error that a failed call carries; for calls that never reached the server, one that says so."""
    status = _status(error)
    for detail in status.details:
        info = details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.reason in errors.ERRORS:
            texts = {key: info.metadata.get(key, "") for key in ("where", "expected", "to_do")}
            return errors.ERRORS[info.reason](info.metadata.get("what", ""), **texts, violations=_violations(status))
    return _without_details(error, target)


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
