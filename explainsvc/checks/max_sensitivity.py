"""max_sensitivity: How much does a map change, relative to its size, when the input changes by little?

Computes: Over uniform neighbours of each input within the radius, the target kept: max and mean of ‖Φ(x̃) − Φ(x)‖₂ / ‖Φ(x)‖₂.
Output: Rows (method, measure, amount = radius): ``max_sensitivity`` and ``avg_sensitivity``.
Needs: Float inputs; five inputs or more for a verdict.
Cost: ``samples`` explanations per input and method.
Properties: Gradients of linear models give 0; averaging over noise lowers it (Yeh et al. 2019, section 4).
Limits: Random neighbours give a lower bound of the maximum. A constant map has sensitivity 0 and explains nothing. Methods
    that draw random numbers keep theirs, so that only the input changes.
Source: Yeh et al. 2019, arXiv:1901.09392, section 3; norms relative to the map: the authors' code; verdict: ours.
Differs: The radius is relative to the range of the inputs; captum's and Quantus's are in the inputs' own unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import maps
from explainsvc.checks._distance import norm, share, zero_note
from explainsvc.checks._neighbours import RADIUS, noisy
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "max_sensitivity"
AVERAGE = "avg_sensitivity"


@dataclass(frozen=True)
class Params:
    """The neighbours, and the limit."""

    radius: float = param(0.02, "float", RADIUS, low=1e-6, high=1)
    samples: int = param(10, "int", "neighbours per input, as in the paper's code", low=1)
    limit: float = param(1.0, "float", "largest mean of max_sensitivity that passes", low=0)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Two measures per method."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p))


def _measured(subject: Subject, e: Explained, p: Params) -> Iterator[Measured]:
    before = e.maps.astype(np.float64)
    neighbours = noisy(subject, e, p.radius, p.samples)
    changes = np.stack([norm(maps.maps_of(e, subject.model, x, subject.seed) - before) for x in neighbours])
    for measure, values in ((NAME, changes.max(axis=0)), (AVERAGE, changes.mean(axis=0))):
        relative = share(values, norm(before))
        yield Measured(e.name, measure, relative, amount=p.radius, note=zero_note(relative, "a map of zeros"))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean of max_sensitivity against the limit."""
    return each_method(subject, rows, lambda _, own: at_most(next(r for r in own if r.measure == NAME), p.limit))


RULE = (
    "Pass: the 95 % interval of the mean of max_sensitivity lies at or below the limit 1, where the change is as large as "
    "the map itself: two maps of equal norm then correlate by 0.5, the limit of the randomisation checks; fail: above; "
    "inconclusive: neither, or fewer than 5 inputs."
)

CHECK = Check(
    read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="robustness",
    axis="radius relative to the range of the input", main=NAME,
    work=lambda _model, p: Work(explanations=p.samples),
)  # fmt: skip
