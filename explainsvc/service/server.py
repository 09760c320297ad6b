"""The server: listens, answers, drains. ``serve`` runs until SIGTERM; ``serving`` is for a loop of your own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.longrunning.operations_pb2_grpc import add_OperationsServicer_to_server
from grpc_health.v1 import health_pb2_grpc

from explainpb.inference import inference_service_pb2
from explainpb.inference.inference_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from explainpb.v1.explanation_service_pb2_grpc import add_ExplanationServiceServicer_to_server
from explainpb.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from explainsvc.allocator import freeze_what_is_loaded, keep_freed_memory
from explainsvc.errors import ExplainsvcError
from explainsvc.jobs import Pool, running
from explainsvc.service import health, logs, tls
from explainsvc.service.audit_runs import AuditRuns, running_audits
from explainsvc.service.audits import AuditService
from explainsvc.service.backend import Backend
from explainsvc.service.config import Config, add_options, configured
from explainsvc.service.edge import Perimeter, perimeter
from explainsvc.service.explanations import ExplanationService
from explainsvc.service.health import Health, Readiness
from explainsvc.service.inference import InferenceService
from explainsvc.service.interceptor import Edge
from explainsvc.service.model_uploads import ModelUploads, receiving_uploads
from explainsvc.service.models import ModelService
from explainsvc.service.names import Names
from explainsvc.service.operations import OperationsService
from explainsvc.service.reflecting import reflect
from explainsvc.service.reloading import Reloading
from explainsvc.service.telemetry import Gauges
from explainsvc.service.web import Route, own_routes, serving_http
from explainsvc.service.web_inference import inference_routes
from explainsvc.store import opened

OPERATIONS = "google.longrunning.Operations"
LOG = logging.getLogger(__name__)
KEEPALIVE_TIMEOUT_MS = 20_000
FASTEST_PING_MS = 10_000
"""Clients that ping more often are sent away: gRPC's own limit of five minutes is more than most of them know."""
SETTLE_SECONDS = 0.1
"""Between the last answer and the end of the server, for calls that are on their way to be refused: see the interceptor."""
Prove = Callable[[], Sequence[str]]
"""What does not work here, by name."""
SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (model_service_pb2, "ModelService"),
        (explanation_service_pb2, "ExplanationService"),
        (audit_service_pb2, "AuditService"),
        (inference_service_pb2, "GRPCInferenceService"),
    )
)


def proved() -> Sequence[str]:
    """Nothing was tried; `explainsvc serve` gives the doctor's checks instead."""
    return ()


@dataclass(frozen=True)
class Listening:
    """Where a server listens; ``http`` is "" where it does not."""

    grpc: str
    http: str


@asynccontextmanager
async def serving(config: Config, prove: Prove = proved) -> AsyncIterator[Listening]:
    """A running server; yields where it listens. At the end it refuses new calls and drains the others.

    ``prove`` runs in a thread of its own once calls are answered, and says what does not work; until then, and if anything
    does not, the server is not ready.
    """
    with perimeter(config) as edge, opened(config.store, config.objects, config.retention()) as store:
        async with (
            running(config.limits(), store.quarantine) as pool,
            running_audits(backend := Backend(store, pool, config)) as audits,
            receiving_uploads(backend) as uploads,
        ):
            pool.listener = edge.metrics
            if edge.traces is not None:
                pool.spent = edge.traces.spent
            proof = asyncio.ensure_future(asyncio.to_thread(prove))
            readiness = Readiness({"workers": lambda: _workers(pool), "checks": lambda: _proven(proof)})
            edge.metrics.add(Gauges(lambda: _numbers(pool, readiness), store.audits.tally))
            server = grpc.aio.server(interceptors=[door := Edge(edge.gate)], options=_options(config))
            _add_services(server, backend, audits, uploads)
            inference = InferenceService(Names(backend), readiness.reasons)
            _add_protocols(server, inference, Health(readiness, SERVICES, backend.model))
            address = _listen(server, config.address, edge.material)
            routes = [*own_routes(edge.gate, edge.metrics, readiness), *inference_routes(edge.gate, inference)]
            async with _http(edge, routes) as http_address:
                await server.start()
                try:
                    yield Listening(address, http_address)
                finally:
                    await _drain(server, door, audits, readiness)
            await asyncio.wait([proof])


async def _drain(server: grpc.aio.Server, door: Edge, audits: AuditRuns, readiness: Readiness) -> None:
    """NOT_SERVING, a while for balancers to hear of it, then no new calls, and time for those that run."""
    config, clock = door.gate.config, asyncio.get_running_loop().time
    readiness.stopping.set()
    await asyncio.sleep(config.drain_seconds)
    audits.stopping = True
    end = clock() + config.grace_seconds
    await door.closed(config.grace_seconds)
    await asyncio.sleep(min(SETTLE_SECONDS, max(0.0, end - clock())))
    await server.stop(max(0.0, end - clock()))


def _workers(pool: Pool) -> str:
    """Why no job can be computed."""
    return "" if pool.stats().workers else "none is alive"


def _proven(proof: asyncio.Future[Sequence[str]]) -> str:
    """What the proof has found."""
    if not proof.done():
        return "have not ended yet"
    error = proof.exception()
    return f"failed: {type(error).__name__}" if error is not None else ", ".join(proof.result())


def _numbers(pool: Pool, readiness: Readiness) -> dict[str, float]:
    """The gauges, now."""
    stats = pool.stats()
    return {
        "queue_length": stats.waiting,
        "workers": stats.workers,
        "workers_idle": stats.idle,
        "workers_spare": stats.spares,
        "models_loaded": stats.loaded,
        "models_quarantined": len(stats.quarantined),
        "ready": not readiness.reasons(),
    }


@asynccontextmanager
async def _http(edge: Perimeter, routes: Sequence[Route]) -> AsyncIterator[str]:
    """The HTTP port, if there is to be one."""
    if not edge.gate.config.http_address:
        yield ""
        return
    async with serving_http(edge.gate, routes, edge.material) as address:
        yield address


def _options(config: Config) -> list[tuple[str, Any]]:
    limit = config.max_message_bytes
    options = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.keepalive_time_ms", round(1000 * config.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", FASTEST_PING_MS),
    ]
    if config.max_connection_age_seconds > 0:
        options.append(("grpc.max_connection_age_ms", round(1000 * config.max_connection_age_seconds)))
    return options


def _add_services(server: grpc.aio.Server, backend: Backend, audits: AuditRuns, uploads: ModelUploads) -> None:
    add_ModelServiceServicer_to_server(ModelService(backend, uploads), server)
    add_ExplanationServiceServicer_to_server(ExplanationService(backend), server)
    add_AuditServiceServicer_to_server(service := AuditService(backend, audits), server)
    add_OperationsServicer_to_server(OperationsService(service), server)
    if backend.config.reflection != "off":
        reflect([*SERVICES, OPERATIONS, health.SERVICE], server)


def _add_protocols(server: grpc.aio.Server, inference: InferenceService, probes: Health) -> None:
    """Services that others have defined."""
    add_GRPCInferenceServiceServicer_to_server(inference, server)
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)


def _listen(server: grpc.aio.Server, address: str, material: Reloading[tls.Material] | None) -> str:
    host, _, _ = address.rpartition(":")
    try:
        if material is None:
            return f"{host}:{server.add_insecure_port(address)}"
        return f"{host}:{server.add_secure_port(address, tls.grpc_credentials(material))}"
    except RuntimeError as error:
        raise ExplainsvcError(
            "cannot listen", where=address, expected="a free host:port", to_do="Choose another --address"
        ) from error


async def serve(config: Config, started: Callable[[Listening], None], prove: Prove = proved) -> None:
    """Serve until SIGTERM or SIGINT, then drain; ``started`` hears the addresses once calls are answered."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(config, prove) as listening:
        started(listening)
        await stop.wait()
        LOG.info("stopping")


@contextmanager
def background(config: Config) -> Iterator[str]:
    """A server in a thread of this process, for demonstrations and tests; yields its address."""
    with in_thread(config) as listening:
        yield listening.grpc


@contextmanager
def in_thread(config: Config, prove: Prove = proved) -> Iterator[Listening]:
    """The same with both its addresses."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="explainsvc-server", daemon=True)
    thread.start()
    context = serving(config, prove)
    try:
        listening = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield listening
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m explainsvc.service.server``: what `explainsvc serve` does, but for the doctor's checks."""
    parser = argparse.ArgumentParser(description="The gRPC server of explainsvc.")
    add_options(parser)
    return run(configured(parser.parse_args(arguments)))


def run(config: Config, prove: Prove = proved) -> int:
    """Serve until told to stop; the addresses go to stdout, everything else to stderr."""
    logs.configure(config)
    keep_freed_memory()

    def started(listening: Listening) -> None:
        http = f"listening on http{'s' if config.tls_certificate else ''}://{listening.http}\n" if listening.http else ""
        freeze_what_is_loaded()
        sys.stdout.write(f"listening on {listening.grpc}\n{http}")
        sys.stdout.flush()

    asyncio.run(serve(config, started, prove))
    return 0


if __name__ == "__main__":
    sys.exit(main())
