"""completeness: Do the values of a map sum to the output that they explain?

Computes: Σ R per input against S(x), or against S(x) − S(x′) where the method explains a difference from a baseline x′. S is
    taken from forward passes of its own, at x and at x′, not from the method: |Σ R − claimed| / |claimed|.
Output: Rows (method, measure): ``relative_residual``, and ``sum`` and ``claimed`` in units of S.
Needs: A target; five inputs or more for a verdict.
Cost: One forward pass per input, two for methods with a baseline; no explanation beside the one of the audit.
Properties: Gradient × input passes for networks without biases, integrated gradients with enough steps, Shapley values
    always.
Limits: Inputs where S is close to what it is held against make the ratio large. An inner value (a logit that is no output) is
    read from the prepared graph. Of methods with a background, S(x′) is the mean that the method reports.
Source: Sundararajan et al. 2017, arXiv:1703.01365, section 3, proposition 1; tolerance: section 5, "within 5%".
Differs: Quantus compares with ``==``, which rounding fails, maps that it has normalised, and with a black input whatever the
    method's baseline is. A feature of several elements counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks._distance import share, zero_note
from explainsvc.checks._sums import CLAIMS, complete_of, expected_of, sum_of
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "completeness"
RESIDUAL = "relative_residual"


@dataclass(frozen=True)
class Params:
    """How much may be missing."""

    tolerance: float = param(0.05, "float", "largest mean of |Σ R − claimed| / |claimed| that passes", low=0, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Three measures per method."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e))


def _measured(subject: Subject, e: Explained) -> Iterator[Measured]:
    total = sum_of(subject, e)
    claimed, note = expected_of(subject, e)
    residual = share(np.abs(total - claimed), np.abs(claimed))
    remarks = [note, zero_note(residual, "the claimed sum is 0")]
    yield Measured(e.name, RESIDUAL, residual, note="; ".join(filter(None, remarks)))
    yield Measured(e.name, "sum", total)
    yield Measured(e.name, "claimed", claimed, note=CLAIMS[complete_of(e)])


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean residual against the tolerance."""
    return each_method(subject, rows, lambda e, own: _verdict(e, own, p.tolerance))


def _verdict(e: Explained, own: Sequence[Row], tolerance: float) -> Verdict:
    verdict = at_most(next(row for row in own if row.measure == RESIDUAL), tolerance)
    return replace(verdict, reason=f"{verdict.reason}; held against {CLAIMS[complete_of(e)]}")


RULE = (
    "Pass: the 95 % interval of the mean of |Σ R − claimed| / |claimed| lies at or below the tolerance (0.05: what the "
    "authors of integrated gradients accept); fail: above; inconclusive: neither, or fewer than 5 inputs. Claimed is S(x) "
    "− S(x′) for methods whose card says so, else S(x): a method that claims no sum is held against S(x), as a reader of "
    "its map would."
)

CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="axioms",
    main=RESIDUAL,
    work=lambda _model, _params: Work(explanations=0, forwards=2),
)
