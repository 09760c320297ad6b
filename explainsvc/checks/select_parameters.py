"""select_parameters: Which value of a method's parameter explains best: conserving, continuous and faithful at once?

Computes: The method again for every value of one parameter. Per value: conservation, |Σ R − S| / |S| (a method that claims
    S − S(x′) is held to that); continuity, the largest (‖R(x) − R(x̃)‖/‖R(x)‖) / (‖x − x̃‖/‖x‖) over random neighbours x̃;
    pixel flipping, the AOPC gained over a random order. Per item the values are ranked by each; the mean rank decides.
Output: Rows (method, step, unit "parameter = value", measure): ``conservation``, ``continuity`` (small is good),
    ``gain_over_random`` (large is good), ``mean_rank`` (1 is best).
Needs: A method that has the parameter; float inputs; five inputs or more for a verdict.
Cost: values × (1 + neighbours) explanations and values × steps forwards per input and method.
Properties: The three pull apart: a uniform map conserves and is continuous, and gains nothing; gradients gain and jump.
Limits: The ranks weigh the three alike, whatever the distances; the rows show them. The best of the values given, on these
    inputs: another set of inputs may choose another.
Source: Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, section 10.3; Montavon et al. 2018, arXiv:1706.07979, section 7
    (conservation aside: continuity, selectivity); the combination by mean rank: ours.
Differs: Continuity is relative in map and input, so that values that only scale the map tie.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import _flipping as flipping
from explainsvc.checks import _selection as selection
from explainsvc.checks._controls import above
from explainsvc.checks._features import WINDOW
from explainsvc.checks._substitutes import SUBSTITUTES
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "select_parameters"
GAIN, RANK = "gain_over_random", "mean_rank"
BEST_IS_SMALL = {"conservation": True, "continuity": True, GAIN: False}


@dataclass(frozen=True)
class Params:
    """What is tried, and how it is measured."""

    parameter: str = param("", "str", "name of the method's parameter, such as gamma")
    values: Any = param((), "table", "what is tried, such as [0, 0.1, 0.25, 0.5, 1]")
    neighbours: int = param(5, "int", "continuity: random neighbours per input", low=1)
    noise: float = param(
        0.02, "float", "continuity: standard deviation of the neighbours, relative to the input's range", low=1e-6
    )
    steps: int = param(10, "int", "pixel flipping: steps of equal size", low=1)
    window: Any = param((), "ints", f"pixel flipping: {WINDOW}")
    baseline: Any = param("mean", "value", f"pixel flipping: {SUBSTITUTES}")


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Value by value, one method after the other."""
    values = selection.values_of(p.parameter, p.values)
    known: dict[Hashable, Array] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, values, p, known))


def _measured(
    subject: Subject, e: Explained, values: Sequence[Any], p: Params, known: dict[Hashable, Array]
) -> Iterator[Measured]:
    found: dict[str, list[Array]] = {measure: [] for measure in BEST_IS_SMALL}
    tried = [selection.with_value(e, p.parameter, value) for value in values]
    for step, (value, params) in enumerate(zip(values, tried, strict=True), start=1):
        for measure, numbers in _measures(subject, replace(e, params=params), p, known):
            found[measure].append(numbers)
            yield _placed(Measured(e.name, measure, numbers), step, value, p)
    ranked = selection.mean_ranks({m: np.stack(found[m]) * (1 if small else -1) for m, small in BEST_IS_SMALL.items()})
    for step, (value, numbers) in enumerate(zip(values, ranked, strict=True), start=1):
        yield _placed(Measured(e.name, RANK, numbers), step, value, p)


def _placed(m: Measured, step: int, value: Any, p: Params) -> Measured:
    lost = int(np.isnan(m.values).sum())
    note = f"{lost} of {len(m.values)} inputs left out: S or the map is 0, or not finite" if lost else ""
    amount = float(value) if isinstance(value, (int, float)) else np.nan
    return replace(m, step=step, unit=f"{p.parameter} = {value}", amount=amount, note=note)


def _measures(subject: Subject, e: Explained, p: Params, known: dict[Hashable, Array]) -> Iterator[tuple[str, Array]]:
    request = flipping.request_of(subject, e)
    result = selection.explained_again(request, e)
    yield "conservation", selection.conservation(request, result)
    yield "continuity", selection.continuity(request, e, result, p.neighbours, p.noise)
    yield GAIN, selection.gain(request, result, p, known)


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The value of the best mean rank, and whether its order beats the random one."""
    return each_method(subject, rows, lambda _, own: _verdict(own))


def _verdict(own: Sequence[Row]) -> Verdict:
    by_step = {(row.measure, row.step): row for row in own}
    ranked = sorted((row for row in own if row.measure == RANK), key=lambda row: (np.isnan(row.mean), row.mean))
    best = ranked[0]
    at_best = [by_step[measure, best.step] for measure in BEST_IS_SMALL]
    numbers = ", ".join(f"{row.measure} {row.mean:.3g}" for row in at_best)
    alone = "; ".join(f"by {m} alone {_best(own, m, small)}" for m, small in BEST_IS_SMALL.items())
    order = " > ".join(f"{row.unit.partition(' = ')[2]} ({row.mean:.2f})" for row in ranked)
    verdict = above(by_step[GAIN, best.step], words="its AOPC gained over the random order")
    return Verdict(verdict.word, f"best: {best.unit}, {numbers}; {alone}; by mean rank {order}; {verdict.reason}")


def _best(own: Sequence[Row], measure: str, small: bool) -> str:
    rows = [row for row in own if row.measure == measure and not np.isnan(row.mean)]
    return min(rows, key=lambda row: row.mean if small else -row.mean).unit if rows else "none"


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="The best value has the lowest mean rank over conservation, continuity and pixel flipping, per item and then over the "
    "items. Pass: with it, the 95 % interval of the AOPC gained over the random order lies above 0; fail: it lies at 0 or below; "
    "inconclusive: neither, or fewer than 5 inputs.",
    family="selection",
    axis="value of the parameter",
    main=RANK,
)
