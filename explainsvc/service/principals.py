"""Who calls: set by the edge of the server before a call reaches a service, read by whatever decides what the caller may see."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

SCOPES = ("upload", "explain", "audit", "admin")
"""What a caller may be allowed to do; admin: everything, and to see what others own."""


@dataclass(frozen=True)
class Principal:
    """A caller.

    Attributes:
        name: Owns what the caller uploads and starts; "" where the server asks nobody who they are.
        scopes: Some of ``SCOPES``.
    """

    name: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYBODY = Principal()
"""Without authentication all callers are one, who may do everything."""
CALLER: ContextVar[Principal] = ContextVar("caller", default=ANYBODY)


def caller() -> Principal:
    """The principal of the call that is being answered."""
    return CALLER.get()
