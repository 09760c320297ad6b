"""data_randomization: Do the maps change when the model learns the same inputs with permuted labels?

Computes: Each method explains the same target of the same inputs on two models of one architecture: one trained on the true
    labels, one trained until it knows permuted labels by heart. Their maps are compared by the similarities of
    parameter_randomization. Step 0 is the true-label model with itself: it must give 1. Beside it, how far the output changed.
Output: Rows (method, step, similarity): mean, standard deviation, 95 % bootstrap interval and n over inputs; per step the sha256
    of the model.
Needs: Two models with the same inputs and outputs; five inputs or more for a verdict.
Cost: 3 × methods explanations per input.
Properties: A method that fails does not depend on the relation of inputs and labels. Passing is necessary for a faithful map,
    not sufficient: random numbers pass.
Limits: The target is resolved on the true-label model; what the other model says of it may be little. Input values that enter a
    map as a factor keep it correlated. Permuting leaves some labels as they were, most of them where one class is common.
Source: Adebayo et al. 2018, arXiv:1810.03292, section 4 (training accuracy above 95 % on permuted labels); the verdict by
    interval is ours.
Differs: The paper shows the similarities; here there are controls and a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card, read_params
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps, verdicts
from explainsvc.checks._randomised import about_model, scene_of, seed_at
from explainsvc.checks.audit import subject_of
from explainsvc.checks.course import Course
from explainsvc.checks.findings import report_of
from explainsvc.checks.measured import Measured, refusal_row, summary_rows
from explainsvc.checks.plan import Question, plan_audit
from explainsvc.checks.rows import Row
from explainsvc.checks.similarity import SIMILARITIES, Reference, Scene, chosen
from explainsvc.errors import ExplainsvcError, InvalidInput, Violation
from explainsvc.model import Model
from explainsvc.report.report import Report

NAME = "data_randomization"
PERMUTED = "permuted labels"

RULE = (
    "Of the true-label model's maps against those of the model trained on permuted labels, insensitive: the lower end of the "
    "95 % interval of the similarity lies above the limit; sensitive: the upper end lies below it; inconclusive: neither, or "
    "fewer than 5 inputs have a similarity, or the true-label model compared with itself does not give 1, or the other model did "
    "not learn the permuted labels. The limit is 0.5, or the upper end of the control random (drawn anew: what unrelated maps "
    "give) where that is higher. Spearman's correlation of |map| and of the signed map are judged where they were asked for, and "
    "the worse verdict counts. The control sobel never looks at the model and stays at 1. Constant maps have no similarity; they "
    "are left out of n and counted in the note. random itself is not judged."
)


@dataclass(frozen=True)
class Params:
    """What is compared."""

    similarities: str = param("all", "str", f"all that the maps have, or some, separated by commas: {', '.join(SIMILARITIES)}")
    top: float = param(0.1, "float", "share of the elements that topk_intersection looks at", low=0, high=1)
    resamples: int = param(1000, "int", "bootstrap resamples behind an interval", low=100, high=100_000)


def compare(
    true_model: Model, permuted_model: Model, feeds: Mapping[str, Any], methods: Sequence[str], *,
    parameters: Mapping[str, Mapping[str, Any]] | None = None, **question: Any,
) -> Report:  # fmt: skip
    """The maps of two models, one of which learned permuted labels.

    Args:
        true_model: Trained on the true labels.
        permuted_model: Of the same architecture, trained on permuted labels; that it knows them is the caller's to see to.
        feeds: All inputs of the models, several items.
        methods: Names; the controls random and sobel run beside them.
        parameters: Method, or ``data_randomization``, → its parameters.
        question: ``target``, ``labels`` (true classes, [item]: adds both models' accuracy), ``seed``, ``progress``: as in
            :func:`explainsvc.checks.audit.audit`.

    Raises:
        InvalidInput: The two models have other inputs or outputs.
        ExplainsvcError: As :meth:`Model.audit`.
    """
    own = dict(parameters or {})
    params = read_params(Params, own.pop(NAME, {}), NAME)
    chosen(params.similarities, Scene())
    asked = plan_audit(true_model, feeds, Question(methods, ("parameter_randomization",), parameters=own, **question))
    _require_alike(true_model, permuted_model)
    plan = replace(asked, checks=((_check(permuted_model), params),))
    subject = subject_of(plan, Course.of(plan))
    return report_of(plan, subject, list(_rows(permuted_model, subject, params)))


CARD = read_card(NAME, __doc__, Params)


def _check(permuted_model: Model) -> Check:
    """The check whose one step is this model."""
    return Check(
        CARD,
        Params,
        run=partial(_rows, permuted_model),
        judge=_judge,
        rule=RULE,
        family="randomization",
        controls=verdicts.CONTROLS,
        main="spearman_abs",
    )


def _require_alike(one: Model, other: Model) -> None:
    violations = []
    for kind, ours, theirs in (("inputs", one.inputs, other.inputs), ("outputs", one.outputs, other.outputs)):
        known = {t.name: t.describe() for t in theirs}
        wanted = {t.name: t.describe() for t in ours}
        violations += [
            Violation(
                f'{kind}["{name}"]', f"is {known.get(name, 'missing')}, in the true-label model {wanted.get(name, 'missing')}"
            )
            for name in dict.fromkeys((*wanted, *known))
            if known.get(name) != wanted.get(name)
        ]
    if violations:
        raise InvalidInput("the two models are not of one architecture", violations=violations)


def _rows(permuted_model: Model, subject: Subject, p: Params) -> Iterator[Row]:
    """Step 0, the true-label model with itself, and step 1, with the other."""
    before = maps.value_of(subject.model, subject.feeds, subject.output)
    for step, model, unit in ((0, subject.model, ""), (1, permuted_model, PERMUTED)):
        after = maps.value_of(model, subject.feeds, subject.output)
        yield from _placed(about_model(subject, model.digest, before, after), subject, p, step, unit)
        for e in subject.explained:
            try:
                yield from _placed(_similarities(subject, e, model, p, step), subject, p, step, unit)
            except ExplainsvcError as error:
                yield refusal_row(NAME, e.name, error)


def _similarities(subject: Subject, e: Explained, model: Model, p: Params, step: int) -> Iterator[Measured]:
    reference = Reference.of(e.maps, scene_of(subject, e, p.top), p.similarities)
    found: Array = maps.maps_of(e, model, model.internal(subject.feeds), seed_at(subject, e, step))
    yield from (Measured(e.name, measure, values, note=note) for measure, values, note in reference.against(found))


def _placed(measured: Iterator[Measured], subject: Subject, p: Params, step: int, unit: str) -> list[Row]:
    return summary_rows(NAME, [replace(m, step=step, unit=unit) for m in measured], subject.seed, p.resamples)


def _judge(subject: Subject, params: object, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """By the rule of parameter_randomization, without what it says of weights that no unit has: training keeps none."""
    found = verdicts.judge(subject, params, rows)
    kept = verdicts.left_out(subject)
    return {name: replace(verdict, reason=verdict.reason.replace(kept, "")) for name, verdict in found.items()}
