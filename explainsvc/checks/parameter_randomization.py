"""parameter_randomization: Do the maps change when the model's weights are replaced by random numbers?

Computes: Per step, parameter units are re-initialised and each method explains the same target of the same inputs
    again; Spearman's rank correlation with the maps of the untouched model, of |map| and of the signed map. Step 0 is
    the untouched model, rebuilt as all steps are: it must give 1. Beside it, how far the model's output changed:
    agreement of the arg-max (accuracy too, where labels are given) and correlation of the outputs.
Output: Rows (method, step, unit, similarity): mean, standard deviation, 95 % bootstrap interval and n over inputs.
Needs: A model with learned tensors; five inputs or more for a verdict.
Cost: (units + 1) × methods explanations per input, and as many sessions as graphs.
Properties: A method that fails does not depend on what the model learned. Passing is necessary for a faithful map,
    not sufficient: random numbers pass.
Limits: One draw of the weights per unit and seed. Input values that enter a map as a factor keep it correlated
    (Sundararajan & Taly 2018). Constants that only a Sub, a Div or a scalar Mul uses are not counted as learned.
Source: Adebayo et al. 2018, arXiv:1810.03292, section 4; verdict by interval: ours.
Differs: Layers of the same shape get different numbers (independent seed per unit); constant maps count as missing,
    never as 1; the target stays that of the untouched model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject
from explainsvc.checks import maps, verdicts
from explainsvc.checks.measured import Measured, summary_row
from explainsvc.checks.outputs import output_changes
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.similarity import SIMILARITIES, missing
from explainsvc.errors import MethodNotApplicable
from explainsvc.graph.layers import Unit
from explainsvc.model import Model
from explainsvc.weights import DISTRIBUTIONS, ORDERS, cascade, fully_randomised, parameter_units

NAME = "parameter_randomization"
ALL_UNITS = "all units"


@dataclass(frozen=True)
class Params:
    """How the weights are replaced, and what is compared."""

    order: str = param(
        "cascading", "str",
        "cascading: from the output on, all stay random; bottom_up: from the input on; independent: one unit at a time",
        choices=ORDERS,
    )  # fmt: skip
    distribution: str = param("he_normal", "str", "what the new weights are drawn from", choices=DISTRIBUTIONS)
    similarities: str = param("all", "str", "rank correlation of |map|, of the map, or both", choices=("all", *SIMILARITIES))
    resamples: int = param(1000, "int", "bootstrap resamples behind an interval", low=100, high=100_000)


@dataclass(frozen=True)
class Step:
    """One step of the walk: which unit became random, the model that resulted, and its inputs."""

    number: int
    unit: str
    model: Model
    feeds: dict[str, Array]


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The rows of step 0, 1, … as they are computed."""
    units = parameter_units(subject.model)
    if not units:
        raise MethodNotApplicable(
            "the model has no learned tensors",
            where=f"check {NAME}",
            expected="float weights in Conv, Gemm, MatMul, …",
            to_do="Models whose parameters are attributes (tree ensembles) cannot be randomised",
        )
    output = maps.value_of(subject.model, subject.feeds, subject.output)
    total, done = (len(units) + 1 + (p.order == "independent")) * len(subject.explained), 0
    for step in _steps(subject, units, p):
        yield from _output_rows(subject, step, output, p)
        for explained in subject.explained:
            subject.progress(done, total, f"{step.unit or 'untouched'}: {explained.name}")
            yield from _rows(subject, explained, step, p)
            done += 1
    subject.progress(total, total, NAME)


def _steps(subject: Subject, units: Sequence[Unit], p: Params) -> Iterator[Step]:
    """One per unit; ``independent`` ends with all units re-initialised, which the verdict is about."""
    feeds = subject.model.internal(subject.feeds)
    for number, (unit, model) in enumerate(cascade(subject.model, units, p.order, p.distribution, subject.seed)):
        yield Step(number, "" if unit is None else unit.name, model, feeds)
    if p.order == "independent":
        model = fully_randomised(subject.model, units, p.distribution, subject.seed)
        yield Step(len(units) + 1, ALL_UNITS, model, feeds)


def _rows(subject: Subject, explained: Explained, step: Step, p: Params) -> Iterator[Row]:
    # sampling methods keep their noise, so that only weights differ; controls are drawn anew after step 0
    seed = subject.seed + (step.number if explained.is_control else 0)
    changed = maps.maps_of(explained, step.model, step.feeds, seed)
    for name, similarity in SIMILARITIES.items():
        if p.similarities in ("all", name):
            values = similarity(explained.maps, changed)
            note = missing(values, explained.maps, changed)
            yield _row(subject, step, p, Measured(explained.name, name, values, note=note))


def _output_rows(subject: Subject, step: Step, before: Array, p: Params) -> Iterator[Row]:
    after = maps.value_of(step.model, step.feeds, subject.output)
    for name, values, note in output_changes(before, after, subject.model.batched(subject.feeds), subject.labels):
        yield _row(subject, step, p, Measured(MODEL, name, values, note=note))


def _row(subject: Subject, step: Step, p: Params, m: Measured) -> Row:
    placed = replace(m, order=p.order, step=step.number, unit=step.unit)
    return summary_row(NAME, placed, subject.seed, p.resamples)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=verdicts.judge,
    rule=verdicts.RULE,
    family="randomization",
    controls=verdicts.CONTROLS,
    main="spearman_abs",
)
