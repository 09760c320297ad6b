"""The checks, one file each; ``CHECKS`` is the registry."""

from __future__ import annotations

from explainsvc.check import Check
from explainsvc.checks import (
    bam,
    fragility,
    mean_shift_attack,
    parameter_randomization,
)
from explainsvc.errors import UnknownMethod

CHECKS: dict[str, Check] = {
    check.card.name: check
    for check in (
        bam.CHECK,
        fragility.CHECK,
        mean_shift_attack.CHECK,
        parameter_randomization.CHECK,
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
