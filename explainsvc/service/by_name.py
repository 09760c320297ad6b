"""Services that are found by the names of their methods alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True)
class ByName:
    """A server as generated code adds services to it, without what that registers beside their names.

    grpc.aio waits for each registered method by itself, all of them anew at every call.
    """

    server: grpc.aio.Server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """See ``grpc.aio.Server``."""
        self.server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Nothing."""
