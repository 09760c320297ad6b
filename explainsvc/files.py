"""What a model needs of its file, and how a graph becomes a session."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import onnx
import onnx_ir as ir

from explainsvc.runtime import Session, new_session
from explainsvc.spans import span

Make = Callable[[Hashable, Callable[[], ir.Model]], Session]
"""(key, build) → the session of the graph that ``build`` gives; ``key`` names the graph."""


class Source(Protocol):
    """A model's file."""

    @property
    def proto(self) -> onnx.ModelProto:
        """The file, read, external data inside."""

    @property
    def digest(self) -> str:
        """Its identity."""

    @property
    def size_bytes(self) -> int:
        """External data included."""


def serialised(model: ir.Model) -> bytes:
    """The graph as the bytes of a file."""
    return ir.to_proto(model).SerializeToString()


def built(_key: Hashable, build: Callable[[], ir.Model]) -> Session:
    """The graph, built and loaded."""
    with span("build"):
        data = serialised(build())
    return new_session(data)
