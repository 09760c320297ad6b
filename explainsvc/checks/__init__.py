"""The checks, one file each; ``CHECKS`` is the registry."""

from __future__ import annotations

from explainsvc.check import Check
from explainsvc.checks import (
    bam,
    completeness,
    complexity,
    conservation,
    continuity,
    deletion,
    dummy,
    efficient_mprt,
    fragility,
    implementation_invariance,
    infidelity,
    input_invariance,
    insertion,
    learned,
    linearity,
    localization,
    max_sensitivity,
    mean_shift_attack,
    parameter_randomization,
    pixel_flipping,
    random_logit,
    road,
    second_engine,
    select_parameters,
    sensitivity_n,
    smooth_mprt,
    symmetry,
)
from explainsvc.errors import UnknownMethod, Violation

_ALL = (
    bam.CHECK,
    completeness.CHECK,
    complexity.CHECK,
    conservation.CHECK,
    continuity.CHECK,
    deletion.CHECK,
    dummy.CHECK,
    efficient_mprt.CHECK,
    fragility.CHECK,
    implementation_invariance.CHECK,
    infidelity.CHECK,
    input_invariance.CHECK,
    insertion.CHECK,
    learned.CHECK,
    linearity.CHECK,
    localization.CHECK,
    max_sensitivity.CHECK,
    mean_shift_attack.CHECK,
    parameter_randomization.CHECK,
    pixel_flipping.CHECK,
    random_logit.CHECK,
    road.CHECK,
    second_engine.CHECK,
    select_parameters.CHECK,
    sensitivity_n.CHECK,
    smooth_mprt.CHECK,
    symmetry.CHECK,
)
CHECKS: dict[str, Check] = {check.card.name: check for check in _ALL}


def find_check(name: str) -> Check:
    """The check called ``name``.

    Raises:
        UnknownMethod: There is none; lists those that there are.
    """
    if name not in CHECKS:
        known = Violation("checks", f"is {name!r}; known: {', '.join(sorted(CHECKS))}")
        raise UnknownMethod(f'no check is called "{name}"', violations=[known], to_do="`explainsvc checks` lists them")
    return CHECKS[name]
