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
from typing import Any

import grpc
from google.longrunning.operations_pb2_grpc import add_OperationsServicer_to_server
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from explainpb.v1.explanation_service_pb2_grpc import add_ExplanationServiceServicer_to_server
from explainpb.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from explainsvc.errors import ExplainsvcError
from explainsvc.jobs import running
from explainsvc.service.audit_runs import AuditRuns, running_audits
from explainsvc.service.audits import AuditService
from explainsvc.service.backend import Backend
from explainsvc.service.config import Config, add_options, configured
from explainsvc.service.explanations import ExplanationService
from explainsvc.service.interceptor import ErrorInterceptor
from explainsvc.service.models import ModelService
from explainsvc.service.operations import OperationsService
from explainsvc.service.symbols import Symbols
from explainsvc.store import opened

OPERATIONS = "google.longrunning.Operations"
LOG = logging.getLogger(__name__)
SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (model_service_pb2, "ModelService"),
        (explanation_service_pb2, "ExplanationService"),
        (audit_service_pb2, "AuditService"),
    )
)


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[str]:
    """A running server; yields the address it listens on. At the end it refuses new calls and drains the others."""
    with opened(config.store) as store:
        async with running(config.limits()) as pool, running_audits(backend := Backend(store, pool, config)) as audits:
            server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=_options(config))
            _add_services(server, backend, audits)
            healthy = await _add_health(server)
            address = _listen(server, config.address)
            await server.start()
            try:
                yield address
            finally:
                audits.stopping = True
                await healthy.enter_graceful_shutdown()
                await server.stop(config.grace_seconds)


def _options(config: Config) -> list[tuple[str, Any]]:
    limit = config.max_message_bytes
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
    ]


def _add_services(server: grpc.aio.Server, backend: Backend, audits: AuditRuns) -> None:
    add_ModelServiceServicer_to_server(ModelService(backend), server)
    add_ExplanationServiceServicer_to_server(ExplanationService(backend), server)
    add_AuditServiceServicer_to_server(service := AuditService(backend, audits), server)
    add_OperationsServicer_to_server(OperationsService(service), server)
    names = [*SERVICES, OPERATIONS, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, Symbols())  # type: ignore[arg-type]  # the part of a pool that it uses


async def _add_health(server: grpc.aio.Server) -> Any:
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for service in ("", *SERVICES):
        await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def _listen(server: grpc.aio.Server, address: str) -> str:
    host, _, _ = address.rpartition(":")
    try:
        return f"{host}:{server.add_insecure_port(address)}"
    except RuntimeError as error:
        raise ExplainsvcError(
            "cannot listen", where=address, expected="a free host:port", to_do="Choose another --address"
        ) from error


async def serve(config: Config, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; ``started`` hears the address once calls are answered."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(config) as address:
        started(address)
        await stop.wait()
        LOG.info("stopping")


@contextmanager
def background(config: Config) -> Iterator[str]:
    """A server in a thread of this process, for demonstrations and tests; yields its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="explainsvc-server", daemon=True)
    thread.start()
    context = serving(config)
    try:
        address = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result()
        try:
            yield address
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m explainsvc.service.server``: what `explainsvc serve` does."""
    parser = argparse.ArgumentParser(description="The gRPC server of explainsvc.")
    add_options(parser)
    return run(configured(parser.parse_args(arguments)))


def run(config: Config) -> int:
    """Serve until told to stop; the address goes to stdout, everything else to stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)

    def started(address: str) -> None:
        sys.stdout.write(f"listening on {address}\n")
        sys.stdout.flush()

    asyncio.run(serve(config, started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
