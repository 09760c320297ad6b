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
        name: In the audit log, in metrics and for quotas; "" where the server asks nobody who they are.
        scopes: Some of ``SCOPES``.
        tenant: Owns what the caller uploads and starts, together with others of this tenant; "" where the principal does.
    """

    name: str = ""
    scopes: frozenset[str] = frozenset(SCOPES)
    tenant: str = ""

    @property
    def owner(self) -> str:
        """Whose models and audits the caller sees. No name is a tenant's and a principal's: a tenant's has a prefix."""
        return f"tenant:{self.tenant}" if self.tenant else self.name

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYBODY = Principal()
"""Without authentication all callers are one, who may do everything."""
CALLER: ContextVar[Principal] = ContextVar("caller", default=ANYBODY)


def caller() -> Principal:
    """The principal of the call that is being answered."""
    return CALLER.get()
