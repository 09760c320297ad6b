"""The edge of the server: every request is parsed here, and every error becomes a status here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from explainsvc.errors import InvalidInput
from explainsvc.service.status import CODES, DETAILS_KEY, to_status, told

OWN = ("/explainsvc.", "/google.longrunning.")
"""Services whose errors are ours; health and reflection have their own."""

Context = Any
"""``grpc.aio.ServicerContext``."""
Parse = Callable[[bytes], Any]


async def fail(context: Context, error: Exception) -> NoReturn:
    """End the call with the error's status; an error that is not ours says nothing but that it happened."""
    error = told(error)
    status = to_status(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(CODES[type(error)], status.message, trailing_metadata=trailing)
    raise AssertionError("abort raises")


def _parsed(parse: Parse, data: bytes) -> Any:
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidInput("the request is no message of this rpc", expected="the messages of explainsvc.v1") from error


async def _each_parsed(parse: Parse, requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for data in requests:
        yield _parsed(parse, data)


@asynccontextmanager
async def _errors_end(context: Context) -> AsyncIterator[None]:
    """Every error of the body ends the call with its status."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the edge of the server: nothing may pass it without a status
        await fail(context, error)


def _unary(method: Callable[..., Awaitable[Any]], parse: Parse) -> Callable[..., Awaitable[Any]]:
    async def guarded(data: bytes, context: Context) -> Any:
        async with _errors_end(context):
            return await method(_parsed(parse, data), context)

    return guarded


def _upload(method: Callable[..., Awaitable[Any]], parse: Parse) -> Callable[..., Awaitable[Any]]:
    async def guarded(requests: AsyncIterator[bytes], context: Context) -> Any:
        async with _errors_end(context):
            return await method(_each_parsed(parse, requests), context)

    return guarded


def _stream(method: Callable[..., AsyncIterator[Any]], read: Callable[[Any], Any]) -> Callable[..., AsyncIterator[Any]]:
    """``read``: makes what arrives, the bytes of one message or an iterator of such, into what the method takes."""

    async def guarded(given: Any, context: Context) -> AsyncIterator[Any]:
        async with _errors_end(context):
            responses: Any = method(read(given), context)
            async with aclosing(responses):
                async for response in responses:
                    yield response

    return guarded


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Turns the errors of our services into statuses."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a call, given bytes, with its errors caught."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OWN):
            return handler  # type: ignore[no-any-return]
        parse, serializer = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            both = _stream(handler.stream_stream, partial(_each_parsed, parse))
            return grpc.stream_stream_rpc_method_handler(both, response_serializer=serializer)
        if handler.response_streaming:
            stream = _stream(handler.unary_stream, partial(_parsed, parse))
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=serializer)
        if handler.request_streaming:
            upload = _upload(handler.stream_unary, parse)
            return grpc.stream_unary_rpc_method_handler(upload, response_serializer=serializer)
        unary = _unary(handler.unary_unary, parse)
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=serializer)
