"""mean_shift_attack: Can a constant shift of the inputs, undone by the model, draw a picture into the map?

Computes: The shift m = `strength` · range of the inputs · a pattern; the model f₂(x) = f(x − m), which has the same output at
    x + m as f at x; and each method's map of f₂ at x + m, of the same target, beside its map of f at x. A map that shows m more
    than before explains the shift, of which the output knows nothing.
Output: Rows (method, measure): how much of the pattern P shows before and after, which is the share of the |P| elements of
    largest magnitude that lie in P, and the gain; Spearman's correlation of the two maps and of their magnitudes. A note says
    how far the outputs of the pair differ, relative to their largest magnitude.
Needs: Float inputs; five inputs or more for a verdict.
Cost: One explanation per input and method beside the untouched one.
Properties: The gradient, and what is made of gradients alone, is the same for both models. What is multiplied by the input is
    not.
Limits: A pattern may be no better than chance at showing; a map may change in other ways, which `input_invariance` looks for. A
    baseline that the caller gives as numbers stays where it is, while the inputs move.
Source: Kindermans et al. 2017, arXiv:1711.00867, section 2.1 (the pair) and the figure of a hand-drawn kitten; the
    pattern's share and verdict: ours.
Differs: The default pattern is a tenth of the elements, drawn by the seed, so that tables can be attacked as pictures are; m is
    taken off by a Sub in front of the graph, not in the first bias, so that any first operator will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks._saliency import top
from explainsvc.checks._shift import shifted
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.checks.similarity import RANKED, missing
from explainsvc.engine import RUN_TOLERANCE
from explainsvc.errors import InvalidParameter, MethodNotApplicable, PassChangedFunction, Violation
from explainsvc.graph.probe import deviation
from explainsvc.model import Model
from explainsvc.weights import seed_sequence

NAME = "mean_shift_attack"
MAIN = "pattern_gain"
SHARE = 0.1
"""Of the elements that the default pattern holds."""
RULE = (
    "pass: the 95 % interval of the gain (share of the largest elements of the map that lie in the pattern, after the shift less "
    "before) lies at or below the limit; fail: above it"
)


@dataclass(frozen=True)
class Params:
    """What is drawn, how strongly, and how much of it may show."""

    pattern: Any = param(
        None,
        "array",
        "what to draw, in units of the input's range; broadcasts to one item of it; by default 1 at a tenth of the elements",
    )
    strength: float = param(1.0, "float", "factor of the pattern", low=1e-6, high=1e3)
    limit: float = param(0.1, "float", "gain that a map may have", low=0, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Rows method by method."""
    return method_by_method(NAME, subject, partial(_attacked, subject, p))


def _attacked(subject: Subject, p: Params, e: Explained) -> Iterator[Measured]:
    shifts = {name: _shift(subject, p, e, name) for name in e.wanted}
    other, moved = shifted(subject.model, subject.feeds, shifts, sub=True)
    error = _difference(subject, other, moved)
    after = maps.maps_of(e, other, moved, subject.seed)
    pattern = np.concatenate([(m != 0).reshape(-1) for m in shifts.values()])
    before, now = _shown(e.maps, pattern), _shown(after, pattern)
    note = f"{int(pattern.sum())} of {pattern.size} elements are shifted; the pair's outputs differ by {error:.2g}"
    yield Measured(e.name, "pattern_before", before)
    yield Measured(e.name, "pattern_after", now)
    yield Measured(e.name, MAIN, now - before, note=note)
    for name, similarity in RANKED.items():
        values = similarity(e.maps, after)
        yield Measured(e.name, name, values, note=missing(values, e.maps, after))


def _shift(subject: Subject, p: Params, e: Explained, name: str) -> Array:
    """m of one input, of one item's shape."""
    x = subject.model.internal(subject.feeds)[name]
    if x.dtype.kind != "f" or not np.ptp(x) > 0:
        raise MethodNotApplicable(
            f"its elements are {x.dtype}" if x.dtype.kind != "f" else "all its elements are equal: it has no range",
            where=f'check {NAME}, {e.name}, input "{name}"', expected="float elements that differ", to_do="Give other inputs",
        )  # fmt: skip
    shape = x.shape[1:] if subject.model.batched(subject.feeds) and subject.model.leads_with_items(name) else x.shape
    pattern = _drawn(shape, subject.seed, name) if p.pattern is None else _given(p.pattern, shape, name)
    return np.asarray(p.strength * np.ptp(x) * pattern, x.dtype)


def _drawn(shape: tuple[int, ...], seed: int, name: str) -> Array:
    size = int(np.prod(shape))
    rng = np.random.default_rng(seed_sequence(seed, f"{NAME}/{name}"))
    pattern = np.zeros(size)
    pattern[rng.choice(size, max(1, round(SHARE * size)), replace=False)] = 1
    return pattern.reshape(shape)


def _given(pattern: Array, shape: tuple[int, ...], name: str) -> Array:
    try:
        found = np.broadcast_to(np.asarray(pattern, np.float64), shape)
    except ValueError as error:
        wrong = f'is {list(np.shape(pattern))}, expected what broadcasts to one item of "{name}", {list(shape)}'
        raise InvalidParameter("the pattern does not fit", violations=[Violation("parameters.pattern", wrong)]) from error
    if not (np.isfinite(found).all() and found.any() and (found == 0).any()):
        wrong = "expected finite numbers, some of them zero and some not: what is shifted everywhere shows nowhere"
        raise InvalidParameter("the pattern does not fit", violations=[Violation("parameters.pattern", wrong)])
    return found


def _difference(subject: Subject, other: Model, moved: Mapping[str, Array]) -> float:
    """How far the pair's outputs differ, relative; the attack is one only where both are the same function.

    Raises:
        PassChangedFunction: They differ: rounding in x + m changes the output.
    """
    name = subject.output
    error = deviation({name: maps.value_of(subject.model, subject.feeds, name)}, {name: maps.value_of(other, moved, name)})
    limit = max(RUN_TOLERANCE, subject.model.prepared.tolerance)
    if not error <= limit:
        raise PassChangedFunction(
            f"the shifted model deviates from the model by {error:.3g}", where=f"check {NAME}",
            expected=f"at most {limit:g} relative", to_do="Take a smaller strength: rounding in x + m changes the output",
        )  # fmt: skip
    return error


def _shown(values: Array, pattern: Array) -> Array:
    """Share of the |P| elements of largest magnitude that lie in P, per item; NaN where a map is constant or not finite."""
    sizes = np.abs(values)
    count = int(pattern.sum())
    inside = (top(sizes, count) & pattern).sum(axis=1) / count
    return np.where(np.isfinite(sizes).all(axis=1) & (np.ptp(sizes, axis=1) > 0), inside, np.nan)


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """By the gain."""
    return each_method(subject, rows, partial(_verdict, p))


def _verdict(p: Params, e: Explained, rows: Sequence[Row]) -> Verdict:
    by_measure = {row.measure: row for row in rows}
    found = at_most(by_measure[MAIN], p.limit)
    return Verdict(found.word, f"{found.reason}; correlation of the maps {by_measure['spearman'].mean:.3g}")


CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="robustness", main=MAIN)
