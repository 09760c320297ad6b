"""The checks, one file each; ``CHECKS`` is the registry."""

from __future__ import annotations

from explainsvc.check import Check
from explainsvc.checks import efficient_mprt, parameter_randomization, smooth_mprt
from explainsvc.errors import UnknownMethod

CHECKS: dict[str, Check] = {
    check.card.name: check for check in (efficient_mprt.CHECK, parameter_randomization.CHECK, smooth_mprt.CHECK)
}


def find_check(name: str) -> Check:
    """The check called ``name``.

    Raises:
        UnknownMethod: There is none; lists those that there are.
    """
    if name not in CHECKS:
        raise UnknownMethod(f'no check is called "{name}"', expected=f"one of {', '.join(sorted(CHECKS))}")
    return CHECKS[name]
