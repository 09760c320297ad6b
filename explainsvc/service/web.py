"""The small HTTP port: /metrics, /healthz, /readyz, and routes that others mount, behind the same gate as the rpcs.

aiohttp, because it serves on the loop that gRPC's server runs on, leaves signals alone, and tells a client's certificate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2

from explainsvc.errors import ExplainsvcError
from explainsvc.service import tls
from explainsvc.service.access import ADMIN, ANY, OPEN
from explainsvc.service.calls import HTTP, REQUEST_ID, Call
from explainsvc.service.health import Readiness
from explainsvc.service.interceptor import Gate, code_of
from explainsvc.service.reloading import Reloading
from explainsvc.service.security import identity
from explainsvc.service.status import to_status, told
from explainsvc.service.telemetry import Metrics

STATUSES = {
    "OK": 200, "INVALID_ARGUMENT": 400, "OUT_OF_RANGE": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "DATA_LOSS": 500, "UNKNOWN": 500, "INTERNAL": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
"""gRPC's codes as HTTP's, by google/rpc/code.proto."""
EXPOSITION = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
SHUTDOWN_SECONDS = 1.0
"""The gRPC port has drained by then."""
Handler = Callable[[web.Request, Call], Awaitable[web.StreamResponse]]
Failure = Callable[[Exception, Call], web.Response]


def failure(error: Exception, call: Call) -> web.Response:
    """The same status, reason and details as over gRPC, as JSON."""
    status = to_status(told(error))
    headers = {"WWW-Authenticate": "Bearer"} if call.code == "UNAUTHENTICATED" else {}
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            headers["Retry-After"] = str(max(1, -(-retry.retry_delay.ToMilliseconds() // 1000)))
    body = {"error": MessageToDict(status) | {"status": call.code, "code": STATUSES[call.code]}}
    return web.Response(text=json.dumps(body), status=STATUSES[call.code], content_type="application/json", headers=headers)


@dataclass(frozen=True)
class Route:
    """One path: its method, its template as aiohttp writes it, who answers, and the scopes of which a caller needs one.

    ``failed`` writes down an error as the protocol of the path has it.
    A handler that reads a request gives its message to ``Gate.take``, which charges for it, and its answer to ``Gate.give``.
    """

    method: str
    path: str
    handler: Handler
    scopes: frozenset[str] = ADMIN
    failed: Failure = failure


def own_routes(gate: Gate, metrics: Metrics, readiness: Readiness) -> list[Route]:
    """Probes and metrics."""

    async def healthz(_request: web.Request, _call: Call) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request, call: Call) -> web.Response:
        reasons = readiness.reasons()
        call.code = "UNAVAILABLE" if reasons else "OK"
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=STATUSES[call.code])

    async def exposition(_request: web.Request, _call: Call) -> web.Response:
        return web.Response(body=await asyncio.to_thread(metrics.text), headers=EXPOSITION)

    scopes = OPEN if gate.config.metrics_open else ANY
    return [
        Route("GET", "/healthz", healthz, OPEN),
        Route("GET", "/readyz", readyz, OPEN),
        Route("GET", "/metrics", exposition, scopes),
    ]


def _behind(gate: Gate, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of a route, behind the gate."""

    async def answered(request: web.Request) -> web.StreamResponse:
        call = Call.of(route.path, HTTP, request.headers.items())
        with gate.watched(call):
            response = await _response(gate, route, request, call)
        response.headers[REQUEST_ID] = call.request_id
        return response

    return answered


async def _response(gate: Gate, route: Route, request: web.Request, call: Call) -> web.StreamResponse:
    try:
        await gate.admit(call, _certificate(request), route.scopes)
        if call.open:
            response = await route.handler(request, call)
        else:
            with gate.quotas.running(call.principal):
                response = await route.handler(request, call)
        call.code = call.code or "OK"
    except web.HTTPException:  # aiohttp's own, such as a body that is too large
        call.code = "INVALID_ARGUMENT"
        raise
    except Exception as error:  # noqa: BLE001  # the edge of the server: nothing may pass it without a status
        call.code = code_of(error)
        return route.failed(error, call)
    except BaseException as error:
        call.code = code_of(error)
        raise
    return response


def _certificate(request: web.Request) -> str:
    transport = request.transport
    certificate = None if transport is None else transport.get_extra_info("peercert")
    return identity(tls.http_names(certificate))


async def _anonymous(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "explainsvc"  # not which library of which version


@asynccontextmanager
async def serving_http(gate: Gate, routes: Sequence[Route], material: Reloading[tls.Material] | None) -> AsyncIterator[str]:
    """The routes on ``http_address``; yields where."""
    address, app = gate.config.http_address, web.Application(client_max_size=gate.config.max_message_bytes)
    for route in routes:
        app.router.add_route(route.method, route.path, _behind(gate, route))
    app.on_response_prepare.append(_anonymous)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS,
        auto_decompress=False,  # a few bytes become any number before a handler could look at them
    )  # fmt: skip
    await runner.setup()
    host, _, port = address.rpartition(":")
    context = None if material is None else tls.http_context(material)
    site = web.TCPSite(runner, host.strip("[]"), int(port), ssl_context=context)
    try:
        await _started(site, address)
        yield f"{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _started(site: web.TCPSite, address: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise ExplainsvcError(
            "cannot listen", where=address, expected="a free host:port", to_do="Choose another --http-address"
        ) from error
