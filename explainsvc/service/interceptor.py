"""The edge of the server, once around every call: who calls and may they; parse; charge; answer; status; tell the observers.

One interceptor and not a chain: each link of a chain would wrap the handler and look at the call again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from explainsvc.codec.beside import Serialised
from explainsvc.errors import ExplainsvcError, InvalidInput, ServerStopping, Unauthenticated
from explainsvc.service import tls
from explainsvc.service.access import OPEN, allow, scopes_of
from explainsvc.service.calls import IN_FORCE, RECEIVED, REQUEST_ID, Call, Observer
from explainsvc.service.config import Config
from explainsvc.service.costs import price
from explainsvc.service.principals import CALLER, Principal
from explainsvc.service.quotas import Quotas
from explainsvc.service.security import NOBODY, Authenticator, identity
from explainsvc.service.status import CODES, DETAILS_KEY, to_status, told

KINDS = {(False, False): "unary", (True, False): "client_stream", (False, True): "server_stream", (True, True): "bidi_stream"}
"""(request streams, response streams) → kind, by the names of go-grpc-prometheus."""
A_MOMENT = 0.05
"""Seconds by which the clocks of a deadline on both sides may be apart."""
Context = Any
"""``grpc.aio.ServicerContext``."""
Parse = Callable[[bytes], Any]


async def fail(context: Context, error: Exception, request_id: str) -> NoReturn:
    """End the call with the error's status; an error that is not ours says nothing but that it happened."""
    error = told(error)
    status = to_status(error)
    trailing = ((DETAILS_KEY, status.SerializeToString()), (REQUEST_ID, request_id))
    await context.abort(CODES[type(error)], status.message, trailing_metadata=trailing)
    raise AssertionError("abort raises")


@dataclass(frozen=True)
class Gate:
    """What a call passes, over gRPC and over HTTP.

    Attributes:
        config: The server's settings.
        security: Knows the principals.
        quotas: Their accounts.
        observers: Hear of every call.
    """

    config: Config
    security: Authenticator
    quotas: Quotas
    observers: Sequence[Observer]

    async def admit(self, call: Call, certificate: str, scopes: frozenset[str]) -> None:
        """Find out who calls, and whether they may.

        Raises:
            Unauthenticated: It takes a scope, and nobody knows who calls.
            NotAllowed: The principal has none of the scopes.
        """
        call.open = scopes == OPEN
        call.principal = await self._principal(call, certificate)
        CALLER.set(call.principal)
        allow(call.principal, scopes)

    async def _principal(self, call: Call, certificate: str) -> Principal:
        try:
            return await self.security.principal(call.headers.get("authorization", ()), certificate)
        except Unauthenticated:
            if not call.open:
                raise
            return NOBODY  # health is for everybody, even with a token that has expired

    def take(self, call: Call, message: Any) -> None:
        """A message of the client: charged to the principal, told to the observers."""
        if self.quotas.limits(call.principal):
            self.quotas.charge(call.principal, price(message))
        for observer in self.observers:
            observer.received(call, message)

    def give(self, call: Call, message: Any) -> None:
        """A message to the client."""
        for observer in self.observers:
            observer.sent(call, message)

    @contextmanager
    def watched(self, call: Call) -> Iterator[None]:
        """From a call's beginning to its end, which is in ``call.code`` by then."""
        IN_FORCE.set(call.request_id)
        RECEIVED.set(call.received)
        for observer in self.observers:
            observer.began(call)
        try:
            yield
        finally:
            for observer in self.observers:
                observer.ended(call)


def code_of(error: BaseException) -> str:
    """The code that an error ends a call with."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED.name
    code = CODES[type(error)] if isinstance(error, ExplainsvcError) else grpc.StatusCode.INTERNAL
    return str(code.name)


class Edge(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Puts the gate around every handler, and closes it before the server ends.

    gRPC ends calls that have arrived but that nobody answers yet with CANCELLED when its server stops, which tells a client
    nothing. So they are refused here, with UNAVAILABLE, until those that run have ended; only then does the server stop.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._running = 0
        self._closed = False
        self._empty = asyncio.Event()

    async def closed(self, seconds: float) -> None:
        """Refuse new calls, but those that are open to all; returns when the last other one has ended, or after so long."""
        self._closed = True
        if self._running:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    @contextmanager
    def _counted(self, call: Call) -> Iterator[None]:
        if call.open:
            yield
            return
        if self._closed:
            raise ServerStopping("the server is stopping", to_do="Send the request again, to the next server of this address")
        self._running += 1
        try:
            yield
        finally:
            self._one_less()

    def _one_less(self) -> None:
        self._running -= 1
        if self._closed and self._running == 0:
            self._empty.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a call, behind the gate; an rpc that nobody serves is refused by gRPC itself."""
        handler: Any = await continuation(handler_call_details)
        details: Any = handler_call_details
        if handler is None:
            return handler  # type: ignore[return-value]  # the stubs do not know that it may be None
        kind = KINDS[handler.request_streaming, handler.response_streaming]
        call = Call.of(details.method, kind, details.invocation_metadata or ())
        return (self._streaming if handler.response_streaming else self._single)(handler, call)

    # A single request is read from the stream, too: of a caller who is refused no byte of it is received.

    def _streaming(self, handler: Any, call: Call) -> grpc.RpcMethodHandler[Any, Any]:
        stream = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def answered(data: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with self._answered(call, context):
                request = await self._request(handler, call, data, context)
                async with aclosing(stream(request, context)) as responses:
                    async for response in responses:
                        self.gate.give(call, response)
                        yield response

        return grpc.stream_stream_rpc_method_handler(answered, response_serializer=handler.response_serializer)

    def _single(self, handler: Any, call: Call) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def answered(data: AsyncIterator[bytes], context: Context) -> Any:
            async with self._answered(call, context):
                response = await method(await self._request(handler, call, data, context), context)
                self.gate.give(call, response.message if isinstance(response, Serialised) else response)
                return response

        def serialised(response: Any) -> bytes:
            return response.data if isinstance(response, Serialised) else handler.response_serializer(response)

        return grpc.stream_unary_rpc_method_handler(answered, response_serializer=serialised)

    async def _request(self, handler: Any, call: Call, data: AsyncIterator[bytes], context: Context) -> Any:
        """What the handler is given: its one message, or an iterator over all."""
        parse = handler.request_deserializer
        if handler.request_streaming:
            return self._each(parse, call, data)
        item = await context.read()
        if item is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            raise InvalidInput("the call ended without a request", expected="one message")
        message = self._message(parse, call, item)
        call.received.fill(message, item)
        return message

    async def _each(self, parse: Parse, call: Call, data: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for item in data:
            yield self._message(parse, call, item)

    def _message(self, parse: Parse, call: Call, item: bytes) -> Any:
        try:
            message = parse(item)
        except DecodeError as error:
            raise InvalidInput("the request is no message of this rpc", expected="the messages of its service") from error
        self.gate.take(call, message)
        return message

    @asynccontextmanager
    async def _answered(self, call: Call, context: Context) -> AsyncIterator[None]:
        """Whoever calls may, and every error of the body ends the call with its status."""
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        try:
            with self.gate.watched(call), _coded(call, context):
                scopes = scopes_of(call.rpc, self.gate.config.reflection == "open")
                await self.gate.admit(call, self._certificate(context), scopes)
                with self._counted(call), nullcontext() if call.open else self.gate.quotas.running(call.principal):
                    yield
        except grpc.aio.AbortError:  # of a service that is not ours
            raise
        except Exception as error:  # noqa: BLE001  # the edge of the server: nothing may pass it without a status
            await fail(context, error, call.request_id)  # only now: who hears of the failure finds it in the audit log
        finally:
            call.received.clear()

    def _certificate(self, context: Context) -> str:
        if self.gate.config.tls_client_ca is None:
            return ""
        return identity(tls.grpc_names(context.auth_context()))


@contextmanager
def _coded(call: Call, context: Context) -> Iterator[None]:
    """However the body ends, the call knows by which code."""
    try:
        yield
        call.code = grpc.StatusCode.OK.name
    except grpc.aio.AbortError:
        call.code = context.code().name
        raise
    except BaseException as error:
        call.code = grpc.StatusCode.DEADLINE_EXCEEDED.name if _gave_up(error, context) else code_of(error)
        raise


def _gave_up(error: BaseException, context: Context) -> bool:
    """Whether the call was cancelled because its own time is over. gRPC cancels it in either case, a moment early or late."""
    left = context.time_remaining() if isinstance(error, asyncio.CancelledError | GeneratorExit) else None
    return left is not None and left < A_MOMENT
