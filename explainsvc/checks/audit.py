"""An audit: methods on a model and inputs, put through checks, as rows while it runs and as a report at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.checks.findings import report_of
from explainsvc.checks.measured import refusal_row
from explainsvc.checks.plan import Asked, Plan, Question, plan_audit
from explainsvc.checks.rows import Row
from explainsvc.errors import ExplainsvcError, MethodNotApplicable
from explainsvc.inspection import reachable_inputs, target_name
from explainsvc.method import Request
from explainsvc.model import Model
from explainsvc.report.report import Report
from explainsvc.target import resolve_target


def audit(model: Model, feeds: Mapping[str, Any], *, on_row: Callable[[Row], None] | None = None, **question: Any) -> Report:
    """Puts methods through checks.

    Args:
        model: The model.
        feeds: All inputs of the model, several items.
        on_row: Called with every row as soon as it is computed.
        question: ``methods``: names; the checks' controls run beside them.
            ``checks``: names; parameter_randomization by default.
            ``target``: as in :meth:`Model.explain`; resolved once per item, on the untouched model.
            ``labels``: true class per item, [item]; adds the accuracy to the rows about the model.
            ``seed``: of all random numbers.
            ``progress``: called with (done, total, what).
            ``parameters``: method or check name → its parameters.

    Raises:
        ExplainsvcError: As :meth:`Model.explain`; InvalidInput for labels that do not fit.
    """
    plan = plan_audit(model, feeds, Question(**question))
    rows: list[Row] = []

    def tell(found: Iterable[Row]) -> None:
        for row in found:
            rows.append(row)
            if on_row is not None:
                on_row(row)

    tell(_opening(plan))
    subject = _subject(plan)
    tell(islice(_rows(plan, subject), len(rows), None))
    return report_of(plan, subject, rows)


def audit_rows(model: Model, feeds: Mapping[str, Any], **question: Any) -> Iterator[Row]:
    """The rows of :func:`audit` as they are computed; closing the generator cancels the rest."""
    return _streamed(plan_audit(model, feeds, Question(**question)))


def _streamed(plan: Plan) -> Iterator[Row]:
    first = _opening(plan)
    yield from first
    yield from islice(_rows(plan, _subject(plan)), len(first), None)


def _opening(plan: Plan) -> list[Row]:
    """The rows of the first check that need no method's maps: those take minutes where methods sample."""
    check, params = plan.checks[0]
    bare = Subject(plan.model, plan.feeds, plan.output, (), plan.labels, plan.seed, plan.progress)
    with suppress(ExplainsvcError):  # said by the check itself
        return [] if check.opening is None else list(check.opening(bare, params))
    return []


def _rows(plan: Plan, subject: Subject) -> Iterator[Row]:
    """Check by check; one that does not apply to the model is an error only where it is the only one."""
    for check, params in plan.checks:
        try:
            yield from check.run(subject, params)
        except ExplainsvcError as error:
            if len(plan.checks) == 1:
                raise
            yield from (refusal_row(check.card.name, e.name, error) for e in subject.explained if e.asked)


def _subject(plan: Plan) -> Subject:
    """Explains the inputs by every method.

    A method that does not fit the model is left out, and said to be refused where the caller named it; the last one that
    the caller named raises.
    """
    values: dict[str, Array] = {}

    def value_of(name: str) -> Array:
        if name not in values:
            values[name] = maps.value_of(plan.model, plan.feeds, name)
        return values[name]

    explained, refused = [], {}
    named = sum(asked.by_caller for asked in plan.methods)
    for done, asked in enumerate(plan.methods):
        plan.progress(done, len(plan.methods), f"untouched: {asked.method.card.name}")
        try:
            explained.append(_explain(plan, asked, value_of))
        except MethodNotApplicable as error:
            if asked.by_caller:
                refused[asked.method.card.name] = str(error)
                if len(refused) == named:
                    raise
    found = tuple(explained)
    return Subject(plan.model, plan.feeds, plan.output, found, plan.labels, plan.seed, plan.progress, refused)


def _explain(plan: Plan, asked: Asked, value_of: Callable[[str], Array]) -> Explained:
    model, feeds, method = plan.model, plan.feeds, asked.method
    name, notes = target_name(model, method, plan.target)
    target = resolve_target(plan.target, name, value_of, model.batched(feeds))
    wanted = reachable_inputs(model, method, target.output)
    request = Request(model, feeds, wanted, target, plan.seed, maps.silent)
    result = maps.attribute(method, asked.params, request)
    caveats = (*method.caveats, *notes, *result.caveats)
    flat = maps.flat(result.values, request.batched)
    return Explained(method, asked.params, wanted, target, result, flat, asked.by_caller, caveats)
