"""One call as the edge of the server sees it, and who hears of it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from explainsvc.service.principals import Principal
from explainsvc.service.security import NOBODY

REQUEST_ID = "x-request-id"
"""Metadata of a call and of its answer, a header over HTTP."""
SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
HTTP = "http"
"""The kind of a call over HTTP."""
IN_FORCE: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that is being answered."""


@dataclass(eq=False)
class Received:
    """The one message of a call, and the bytes that it came as, while it runs.

    Emptied at its end: contexts outlive it, for a timer that was cancelled keeps its own until its time has come.
    """

    message: Any = None
    data: bytes = b""

    def fill(self, message: Any, data: bytes) -> None:
        """When it has come."""
        self.message, self.data = message, data

    def clear(self) -> None:
        """When the call has ended."""
        self.fill(None, b"")


RECEIVED: ContextVar[Received] = ContextVar("received", default=Received())  # noqa: B039  # nobody fills the default
"""Of the call that is being answered."""


@dataclass(eq=False)
class Call:
    """What is known of a call.

    Attributes:
        rpc: ``/package.Service/Method``, or the route over HTTP.
        kind: unary, client_stream, server_stream, bidi_stream or http.
        request_id: The client's, if it is sane, else one of ours.
        headers: The client's metadata, by name in small letters.
        principal: Who calls, once that is known.
        open: Whether it takes no scope, as probes do.
        code: How it ended, by gRPC's names; "" while it runs.
        model_digest, audit_id: What it is about.
        other_models: Digests of a batch of explanations that has more than one.
        inputs: sha256 of each tensor of the request.
        received: Its one message, while it runs; empty where it has a stream of them.
    """

    rpc: str
    kind: str
    request_id: str
    headers: dict[str, Sequence[str]] = field(default_factory=dict)
    principal: Principal = NOBODY
    open: bool = False
    code: str = ""
    model_digest: str = ""
    other_models: list[str] = field(default_factory=list)
    audit_id: str = ""
    inputs: list[str] = field(default_factory=list)
    received: Received = field(default_factory=Received)
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.began

    @classmethod
    def of(cls, rpc: str, kind: str, headers: Iterable[tuple[str, Any]]) -> Call:
        """A call that begins; binary metadata is left out."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            if isinstance(value, str):
                found.setdefault(name.lower(), []).append(value)
        return cls(rpc, kind, _id_of(found.get(REQUEST_ID, [])), dict(found))


def _id_of(given: Sequence[str]) -> str:
    """What a client calls its request may stand in a log only if it cannot be mistaken for something else there."""
    return given[0] if len(given) == 1 and SANE_ID.fullmatch(given[0]) else uuid.uuid4().hex


class Observer(Protocol):
    """Hears of every call: metrics, logs, traces."""

    def began(self, call: Call) -> None:
        """Nothing is known yet but its name and headers."""

    def received(self, call: Call, message: Any) -> None:
        """A message of the client, after its principal was let through."""

    def sent(self, call: Call, message: Any) -> None:
        """A message to the client."""

    def ended(self, call: Call) -> None:
        """However it ended: ``call.code`` says it."""


class Silent:
    """An observer that hears nothing; others override what they want to hear."""

    def began(self, call: Call) -> None:
        """See :class:`Observer`."""

    def received(self, call: Call, message: Any) -> None:
        """See :class:`Observer`."""

    def sent(self, call: Call, message: Any) -> None:
        """See :class:`Observer`."""

    def ended(self, call: Call) -> None:
        """See :class:`Observer`."""
