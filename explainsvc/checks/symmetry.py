"""symmetry: Do two features that the output treats alike get the same?

Computes: The model's file reads a/2 + b/2 in place of each explained input x, b being one more input; it is given a = b = x.
    Exchanging a and b changes S nowhere, so that their maps must be equal: ‖R_a − R_b‖/max(‖R_a‖, ‖R_b‖).
Output: Rows (method, measure): ``relative_difference``; of the model ``output_deviation``.
Needs: Float inputs; five inputs or more for a verdict.
Cost: One more model, and one explanation of twice as many features per input and method.
Properties: Deterministic methods with one rule for all operands of a sum pass. Maps of random numbers fail.
Limits: One kind of symmetry: of two inputs as wholes. Methods that draw samples or walk through the features in an order pass
    up to a sampling error, which more samples reduce.
Source: Sundararajan et al. 2017, arXiv:1703.01365, section 4.1; Shapley 1953.
Differs: No peer has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks._distance import DEVIATION, DIFFERENCE, SAME_MAP, output_deviation, relative_difference
from explainsvc.checks._probes import Twin, with_halves
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, is_first, method_by_method
from explainsvc.checks.rows import MODEL, Row

NAME = "symmetry"


@dataclass(frozen=True)
class Params:
    """What is no more than rounding."""

    tolerance: float = param(SAME_MAP, "float", "largest mean relative difference that passes", low=0, high=2)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The difference of the two maps, method by method."""
    known: dict[tuple[str, ...], Twin] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, known))


def _measured(subject: Subject, e: Explained, known: dict[tuple[str, ...], Twin]) -> Iterator[Measured]:
    if e.wanted not in known:
        known[e.wanted] = with_halves(subject, e.wanted)
    if is_first(subject, e):
        twin = known[e.wanted]
        yield Measured(MODEL, DEVIATION, output_deviation(subject, twin.model, twin.feeds), unit=", ".join(e.wanted))
    yield Measured(e.name, DIFFERENCE, relative_difference(*known[e.wanted].explained(subject, e)))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean relative difference against the tolerance."""
    return each_method(subject, rows, lambda _, own: at_most(own[0], p.tolerance))


RULE = (
    f"Pass: the 95 % interval of the mean of ‖R_a − R_b‖/max(‖R_a‖, ‖R_b‖) lies at or below the tolerance {SAME_MAP:g} (0 "
    "is expected, but for rounding); fail: above; inconclusive: neither, or fewer than 5 inputs."
)

CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="axioms", main=DIFFERENCE)
