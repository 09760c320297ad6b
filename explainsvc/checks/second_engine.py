"""second_engine: Does torch, by derivatives and rules of its own, find the same maps?

Computes: The prepared graph is converted into torch modules, node for node. gradient, guided_backprop and lrp_epsilon are
    computed once more there, in float32 and in float64: products with weights and derivatives by torch autograd, rules as their
    papers state them.
Output: Rows (method, measure): ``relative_difference`` of the map from that of torch in float64, max |R − R′| / max |R′| per
    input; ``rounding``, the same for torch in float32; ``largest_difference`` and ``largest_rounding`` of all inputs;
    ``median_difference``, the largest of the inputs' medians over the elements that are not zero; ``output_deviation``, how far
    torch's explained value is from onnxruntime's.
Needs: The extra train; operators that onnx2torch knows. Methods other than the three are not recomputed, and say so.
Cost: Two explanations per input by torch, one input at a time; one conversion.
Properties: Kernels, derivatives and the order of sums are torch's. Which node gets which rule is read from the method's dry run.
Limits: The graph is the one that passes prepared (they are verified on their own): an error of theirs is one of both engines.
    A unit that lies so close to its kink that rounding decides its side moves some elements, in networks of many layers for
    most inputs: what rounding does to torch itself is the measure of that, and takes some inputs to be seen.
Source: torch.autograd; onnx2torch (ENOT 2022); Springenberg et al. 2015, arXiv:1412.6806; Bach et al. 2015, equation 58;
    as a check: ours.
Differs: No peer has two engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks._distance import DEVIATION, DIFFERENCE, share
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method, refusals
from explainsvc.checks.rows import Row
from explainsvc.training import needing_torch

if TYPE_CHECKING:
    from explainsvc.training.second_engine import SecondEngine

NAME = "second_engine"
ROUNDING, LARGEST, LARGEST_ROUNDING, MEDIAN = "rounding", "largest_difference", "largest_rounding", "median_difference"
SAME = 1e-4
"""Largest relative difference of two float32 engines that sum in different orders."""
MARGIN = 4
"""Times the rounding of torch in float32: two engines that round differently are no further from float64 than this."""
EVERYWHERE = 1e-5
"""A median beyond it: not single units, but the map as a whole is another one. That of corpus models is 1e-7."""

RULE = (
    f"Pass: no input's map is further from torch's in float64 than {SAME:g} of its largest element, or than {MARGIN} times the "
    "largest distance of torch in float32. Fail: one is, and so is the map as a whole (the median of its elements differs by "
    f"more than {EVERYWHERE:g}). Inconclusive: some elements are further, as units at their kinks make them: more inputs would "
    f"tell; or torch's output deviates from onnxruntime's by more than {SAME:g}, the model does not convert, or the method is "
    "not recomputed."
)


@dataclass(frozen=True)
class Params:
    """How far the engines may be apart."""

    tolerance: float = param(SAME, "float", "largest relative difference that passes", low=0, high=1)


def run(subject: Subject, _p: Params) -> Iterator[Row]:
    """Method by method."""
    engine = cache(lambda: _engine(subject))
    return method_by_method(NAME, subject, lambda e: [_compared(subject, engine, e)])


def _engine(subject: Subject) -> SecondEngine:
    with needing_torch(f"check {NAME}"):
        from explainsvc.training.second_engine import SecondEngine
    return SecondEngine.of(subject.model)


def _compared(subject: Subject, engine: Callable[[], SecondEngine], e: Explained) -> list[Measured]:
    single, double = (engine().told(e, subject.feeds, bits) for bits in (32, 64))
    ours, theirs = apart(e.maps, double.maps), apart(single.maps, double.maps)
    value = np.asarray(e.result.output if e.result.output is not None else subject.model.value_of(subject.feeds, e.target.output))
    deviation = apart(value.reshape(double.values.shape), double.values)
    return [
        Measured(e.name, DIFFERENCE, ours),
        Measured(e.name, ROUNDING, theirs),
        Measured(e.name, LARGEST, ours.max(keepdims=True)),
        Measured(e.name, LARGEST_ROUNDING, theirs.max(keepdims=True)),
        Measured(e.name, MEDIAN, medians(e.maps, double.maps).max(keepdims=True)),
        Measured(e.name, DEVIATION, deviation.max(keepdims=True)),
    ]


def apart(found: Array, expected: Array) -> Array:
    """max |a − b| / max |b| per item of [item, element], float64; 0 where both are zero, NaN where only the expected is."""
    return share(np.abs(found.astype(np.float64) - expected).max(axis=1), np.abs(expected).max(axis=1))


def medians(found: Array, expected: Array) -> Array:
    """Of |a − b| / max |b| over the elements that are not zero in both, per item; 0 where all are."""
    gaps = np.abs(found.astype(np.float64) - expected)
    counted = np.where((found != 0) | (expected != 0), gaps, np.nan)
    middle = np.array([np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in counted])
    return share(middle, np.abs(expected).max(axis=1))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The furthest input, beside what rounding does to torch's own map."""
    refused = refusals(rows)
    return each_method(subject, rows, lambda e, own: _verdict(own, p.tolerance, refused.get(e.name)))


def _verdict(own: Sequence[Row], tolerance: float, refused: str | None) -> Verdict:
    if refused is not None:
        return Verdict("inconclusive", f"not recomputed: {refused}")
    found = {row.measure: row.mean for row in own}
    rounding = found[LARGEST_ROUNDING]
    numbers = (
        f"{LARGEST} {found[LARGEST]:.2g}, of torch in float32 {rounding:.2g}, limit {tolerance:g}; {MEDIAN} {found[MEDIAN]:.2g}; "
        f"outputs {found[DEVIATION]:.2g} apart"
    )
    if not found[DEVIATION] <= SAME:
        return Verdict("inconclusive", f"{numbers}: torch does not compute the model")
    if found[LARGEST] <= max(tolerance, MARGIN * rounding):
        return Verdict("pass", numbers)
    if found[MEDIAN] <= EVERYWHERE:
        return Verdict("inconclusive", f"{numbers}: single elements are apart, as units at their kinks make them")
    return Verdict("fail", numbers)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="axioms",
    main=DIFFERENCE,
    work=lambda _model, _params: Work(explanations=10.0),
)
