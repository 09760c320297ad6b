"""input_invariance: Does a map stay when inputs are shifted by a constant and the model is corrected for it?

Computes: x₂ = x + m, and a model f₂ with f₂(x₂) = f(x): the bias of the first layer becomes b − Wᵀm, or a Sub is put behind
    the input. onnxruntime runs both; both are explained for the same target with the same parameters.
Output: Rows (method, measure): ``relative_difference`` of the maps, ‖R − R₂‖/max(‖R‖, ‖R₂‖), and ``spearman``; of the model
    ``output_deviation``.
Needs: Float inputs; five inputs or more for a verdict.
Cost: A second model, and one more explanation per input and method.
Properties: The gradient passes: f and f₂ have the same derivatives. A factor x fails. Integrated gradients pass where the
    baseline moves with the data (their mean, black), and fail where it is a fixed number.
Limits: The shift is one number per input, as in the paper; another one may tell apart what this one does not.
Source: Kindermans et al. 2017, arXiv:1711.00867, sections 2 and 3.
Differs: Quantus corrects a bias by the smallest of its responses, which is wrong at the border of a padded convolution, and
    leaves one element of each input unshifted. Any first operator, several inputs; the outputs' equality is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks._distance import DEVIATION, DIFFERENCE, SAME_MAP, alike, output_deviation
from explainsvc.checks._shift import range_shifts, shifted
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, is_first, method_by_method
from explainsvc.checks.rows import MODEL, Row
from explainsvc.errors import MethodNotApplicable
from explainsvc.model import Model

NAME = "input_invariance"
SAME_OUTPUT = 1e-3
"""Largest relative deviation of outputs that is rounding, as of any explained graph: adding and subtracting m rounds."""
Twin = tuple[Model, dict[str, Array], Array]
"""The corrected model, the shifted feeds, and how far the outputs are apart, per item."""


@dataclass(frozen=True)
class Params:
    """The shift, and how far maps may move."""

    shift: float = param(-1.0, "float", "m in units of the range of an input; −1 is the paper's for images from 0 to 1")
    correction: str = param(
        "bias", "str", "bias: of the first layer where it can be, else a Sub; sub: always", choices=("bias", "sub")
    )
    baseline_moves: bool = param(False, "bool", "whether a method's own baseline is shifted along, as a colour of the data is")
    tolerance: float = param(SAME_MAP, "float", "largest mean relative difference that passes", low=0, high=2)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The outputs' deviation, then the maps."""
    known: dict[tuple[str, ...], Twin] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p, known))


def _measured(subject: Subject, e: Explained, p: Params, known: dict[tuple[str, ...], Twin]) -> Iterator[Measured]:
    shifts = range_shifts(subject.feeds, e.wanted, p.shift)
    if e.wanted not in known:
        model, feeds = shifted(subject.model, subject.feeds, shifts, sub=p.correction == "sub")
        known[e.wanted] = model, feeds, output_deviation(subject, model, feeds)
    model, feeds, deviation = known[e.wanted]
    if is_first(subject, e):
        yield Measured(MODEL, DEVIATION, deviation, unit=", ".join(e.wanted))
    _require_same(float(deviation.max()))
    moved = replace(e, params=_moved(subject, e, shifts)) if p.baseline_moves else e
    yield from alike(e.name, e.maps, maps.maps_of(moved, model, feeds, subject.seed))


def _require_same(deviation: float) -> None:
    if not deviation <= SAME_OUTPUT:
        raise MethodNotApplicable(
            f"the corrected model differs from the model by {deviation:.3g}",
            where=f"check {NAME}", expected=f"at most {SAME_OUTPUT:g} relative", to_do="Choose a smaller shift",
        )  # fmt: skip


def _moved(subject: Subject, e: Explained, shifts: Mapping[str, float]) -> Any:
    """The parameters with their baseline shifted as the inputs are."""
    params: Any = e.params
    if "baseline" not in {f.name for f in fields(params)}:
        return params
    own = baselines(params.baseline, subject.feeds, e.wanted)
    return replace(params, baseline={name: own[name] + np.float32(m) for name, m in shifts.items()})


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean relative difference against the tolerance."""
    return each_method(subject, rows, lambda _, own: at_most(next(r for r in own if r.measure == DIFFERENCE), p.tolerance))


RULE = (
    f"Pass: the 95 % interval of the mean of ‖R − R₂‖/max(‖R‖, ‖R₂‖) lies at or below the tolerance {SAME_MAP:g} (rounding "
    "of the shift moves a map by 1e-5, another baseline or a factor x by tenths); fail: above; inconclusive: neither, or "
    "fewer than 5 inputs."
)

CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="axioms", main=DIFFERENCE)
