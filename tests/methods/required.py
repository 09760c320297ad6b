"""Parameters that a method has no default for, for tests that go over all methods."""

from __future__ import annotations

from typing import Any

REQUIRED: dict[str, dict[str, Any]] = {name: {"low": -6.0, "high": 6.0} for name in ("lrp_z_box", "lrp_epsilon_gamma_box")}


def required(method: str) -> dict[str, Any]:
    """What must be given."""
    return REQUIRED.get(method, {})
