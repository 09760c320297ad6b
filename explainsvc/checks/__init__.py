"""The checks, one file each; ``CHECKS`` is the registry."""

from __future__ import annotations

from explainsvc.check import Check
from explainsvc.checks import (
    bam,
    completeness,
    conservation,
    continuity,
    dummy,
    fragility,
    implementation_invariance,
    input_invariance,
    linearity,
    max_sensitivity,
    mean_shift_attack,
    parameter_randomization,
    random_logit,
    symmetry,
)
from explainsvc.errors import UnknownMethod

_ALL = (
    bam.CHECK,
    completeness.CHECK,
    conservation.CHECK,
    continuity.CHECK,
    dummy.CHECK,
    fragility.CHECK,
    implementation_invariance.CHECK,
    input_invariance.CHECK,
    linearity.CHECK,
    max_sensitivity.CHECK,
    mean_shift_attack.CHECK,
    parameter_randomization.CHECK,
    random_logit.CHECK,
    symmetry.CHECK,
)
CHECKS: dict[str, Check] = {check.card.name: check for check in _ALL}


def find_check(name: str) -> Check:
    """The check called ``name``.

    Raises:
        UnknownMethod: There is none; lists those that there are.
    """
    if name not in CHECKS:
        raise UnknownMethod(f'no check is called "{name}"', expected=f"one of {', '.join(sorted(CHECKS))}")
    return CHECKS[name]
