"""dummy: Does a feature on which the output does not depend get nothing?

Computes: The model's file is given one more input d for each explained input x, of the same shape, and reads x + 0·d in place
    of x: S cannot depend on d. Both are explained together, d holding the values of another item: Σ |R_d| / (Σ |R_x| + Σ
    |R_d|).
Output: Rows (method, measure): ``dummy_share``; of the model ``output_deviation``.
Needs: Float inputs; five inputs or more for a verdict.
Cost: One more model, and one explanation of twice as many features per input and method.
Properties: The gradient, what multiplies by it, and differences of outputs give exactly 0. Rules that share out evenly do
    not, nor maps made without the input, such as activation maps that are laid over every input alike.
Limits: One kind of dummy. Methods that fit coefficients to samples give noise, which the tolerance may or may not cover.
Source: Sundararajan et al. 2017, arXiv:1703.01365, section 3.1 (implied by completeness and sensitivity(b)); null player:
    Shapley 1953.
Differs: Quantus's NonSensitivity guesses which features have no effect, from the output with each of them replaced; here it
    is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks._distance import DEVIATION, output_deviation, share
from explainsvc.checks._probes import Twin, with_dummies
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, is_first, method_by_method
from explainsvc.checks.rows import MODEL, Row

NAME = "dummy"
SHARE = "dummy_share"


@dataclass(frozen=True)
class Params:
    """What is no more than rounding."""

    tolerance: float = param(0.001, "float", "largest mean share of the dummy that passes", low=0, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The share of the dummy, method by method."""
    known: dict[tuple[str, ...], Twin] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, known))


def _measured(subject: Subject, e: Explained, known: dict[tuple[str, ...], Twin]) -> Iterator[Measured]:
    if e.wanted not in known:
        known[e.wanted] = with_dummies(subject, e.wanted)
    if is_first(subject, e):
        twin = known[e.wanted]
        yield Measured(MODEL, DEVIATION, output_deviation(subject, twin.model, twin.feeds), unit=", ".join(e.wanted))
    own, added = (np.abs(values.astype(np.float64)).sum(axis=1) for values in known[e.wanted].explained(subject, e))
    yield Measured(e.name, SHARE, share(added, own + added))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean share against the tolerance."""
    return each_method(subject, rows, lambda _, own: at_most(own[0], p.tolerance))


RULE = (
    "Pass: the 95 % interval of the mean of Σ |R_d| / (Σ |R_x| + Σ |R_d|) lies at or below the tolerance 0.001 (0 is "
    "expected; an input of no effect that gets a thousandth of a map is not rounding); fail: above; inconclusive: "
    "neither, or fewer than 5 inputs."
)

CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="axioms", main=SHARE)
