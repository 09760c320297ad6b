"""Whether the server is ready, as ``grpc.health.v1`` tells it: of the server, of each service, of each model.

The library's own servicer is not used: it holds a lock while it writes to a watcher, and its watchers outlive a drain.
"""

# ruff: noqa: N802  # the names are those of the generated interface
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from explainsvc.errors import ModelNotFound
from explainsvc.service.access import ANY
from explainsvc.service.principals import caller

SERVICE = "grpc.health.v1.Health"
MODELS = "explainsvc.v1.models/"
"""Before a digest: the name of a model. It is told to callers who may see models."""
LOOK_SECONDS = 0.5
"""Between two looks on behalf of a watcher."""
Status = Any
"""``HealthCheckResponse.ServingStatus``."""


@dataclass(eq=False)
class Readiness:
    """Why a server is not ready.

    Attributes:
        gates: What must work → why it does not, "" where it does.
        stopping: Set once the server drains; never unset.
    """

    gates: Mapping[str, Callable[[], str]]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def reasons(self) -> dict[str, str]:
        """Gate → what is wrong with it; empty while the server is ready."""
        if self.stopping.is_set():
            return {"server": "is stopping"}
        return {name: reason for name, gate in self.gates.items() if (reason := gate())}


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped
    """The health service.

    Attributes:
        readiness: Of the whole server.
        services: Their full names; "" is the server.
        find_model: Raises ModelNotFound for a digest that is not stored, or not the caller's.
    """

    def __init__(self, readiness: Readiness, services: Sequence[str], find_model: Callable[[str], object]) -> None:
        self.readiness, self.services, self.find_model = readiness, ("", *services), find_model

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:
        """The status now; NOT_FOUND for a name that is unknown, or a model that is not the caller's."""
        status = self._status(request.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return pb.HealthCheckResponse(status=status)

    async def Watch(self, request: pb.HealthCheckRequest, context: Any) -> AsyncIterator[pb.HealthCheckResponse]:  # noqa: ARG002
        """The status whenever it changes; ends with the server."""
        told, over = None, False
        while not over:
            over = self.readiness.stopping.is_set()
            status = self._status(request.service)
            if status != told:
                told = status
                yield pb.HealthCheckResponse(status=status)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.readiness.stopping.wait(), LOOK_SECONDS)

    async def List(self, request: pb.HealthListRequest, context: Any) -> pb.HealthListResponse:  # noqa: ARG002
        """The server and its services; models are not listed here."""
        return pb.HealthListResponse(statuses={name: pb.HealthCheckResponse(status=self._status(name)) for name in self.services})

    def _status(self, name: str) -> Status:
        if name not in self.services and not self._is_model(name):
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.NOT_SERVING if self.readiness.reasons() else pb.HealthCheckResponse.SERVING

    def _is_model(self, name: str) -> bool:
        if not name.startswith(MODELS) or not any(map(caller().may, ANY)):
            return False
        try:
            self.find_model(name.removeprefix(MODELS))
        except ModelNotFound:
            return False
        return True
