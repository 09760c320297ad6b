"""The checks, one file each; ``CHECKS`` is the registry."""

from __future__ import annotations

from explainsvc.check import Check
from explainsvc.checks import (
    complexity,
    deletion,
    infidelity,
    insertion,
    localization,
    parameter_randomization,
    pixel_flipping,
    road,
    select_parameters,
    sensitivity_n,
)
from explainsvc.errors import UnknownMethod

CHECKS: dict[str, Check] = {
    check.card.name: check
    for check in (
        complexity.CHECK,
        deletion.CHECK,
        infidelity.CHECK,
        insertion.CHECK,
        localization.CHECK,
        parameter_randomization.CHECK,
        pixel_flipping.CHECK,
        road.CHECK,
        select_parameters.CHECK,
        sensitivity_n.CHECK,
    )
}


def find_check(name: str) -> Check:
    """The check called ``name``.

    Raises:
        UnknownMethod: There is none; lists those that there are.
    """
    if name not in CHECKS:
        raise UnknownMethod(f'no check is called "{name}"', expected=f"one of {', '.join(sorted(CHECKS))}")
    return CHECKS[name]
