"""An audit: methods on a model and inputs, put through checks, as rows while it runs and as a report at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from time import perf_counter
from typing import Any

from explainsvc.arena import give_back
from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.checks._features import require_items
from explainsvc.checks.course import Course
from explainsvc.checks.findings import report_of
from explainsvc.checks.measured import refusal_row
from explainsvc.checks.plan import Asked, Plan, Question, plan_audit
from explainsvc.checks.rows import MODEL, Row
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
            ``progress``: called with (done, total, what) before every piece of work, and at the end.
            ``on_standing``: called at the same moments with a :class:`Standing`, which knows the time left as well.
            ``journal``: keeps what is finished, so that the same call goes on from there after a crash; see
            :func:`explainsvc.journals.kept`.
            ``parameters``: method or check name → its parameters.

    Raises:
        ExplainsvcError: As :meth:`Model.explain`; InvalidInput for labels that do not fit; JournalMismatch for the journal of
            another question.
    """
    plan = plan_audit(model, feeds, Question(**question))
    course = Course.of(plan)
    subject = cache(partial(subject_of, plan, course))
    rows = []
    for row in _told(plan, course, subject):
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return report_of(plan, subject(), rows)


def audit_rows(model: Model, feeds: Mapping[str, Any], **question: Any) -> Iterator[Row]:
    """The rows of :func:`audit` as they are computed; closing the generator cancels the rest."""
    return _streamed(plan_audit(model, feeds, Question(**question)))


def _streamed(plan: Plan) -> Iterator[Row]:
    course = Course.of(plan)
    yield from _told(plan, course, partial(subject_of, plan, course))


def _told(plan: Plan, course: Course, subject: Callable[[], Subject]) -> Iterator[Row]:
    """All rows, each once; the subject is asked for when the opening ones have been told."""
    told = 0
    try:
        for row in _opening(plan, course):
            told += 1
            yield row
        yield from islice(_rows(plan, subject(), course), told, None)
    finally:
        give_back()


def _opening(plan: Plan, course: Course) -> Iterator[Row]:
    """The rows of a first check that judges the model alone: methods may take minutes before the next ones come."""
    check, params = plan.checks[0]
    if check.of_model:
        bare = Subject(plan.model, plan.feeds, plan.output, (), plan.labels, plan.seed, course.once)
        with suppress(ExplainsvcError):  # which the check raises again in its place
            yield from check.run(bare, params)


def _rows(plan: Plan, subject: Subject, course: Course) -> Iterator[Row]:
    """Check by check; one that does not apply to the model is an error only where it is the only one."""
    for check, params in plan.checks:
        try:
            yield from check.run(subject, params)
        except ExplainsvcError as error:
            if len(plan.checks) == 1:
                raise
            names = [MODEL] if check.of_model else [e.name for e in subject.explained if e.asked]
            yield from (refusal_row(check.card.name, name, error) for name in names)
        course.over(check.card.name)
    course.tell("report")


def subject_of(plan: Plan, course: Course) -> Subject:
    """Explains the inputs by every method.

    A method that does not fit the model is left out, and said to be refused where the caller named it; the last one that
    the caller named raises.
    """
    course.tell(f"untouched: {plan.output}")
    start = perf_counter()
    values = {plan.output: maps.value_of(plan.model, plan.feeds, plan.output)}
    forward = perf_counter() - start

    def value_of(name: str) -> Array:
        if name not in values:
            values[name] = maps.value_of(plan.model, plan.feeds, name)
        return values[name]

    explained, refused = [], {}
    named = sum(asked.by_caller for asked in plan.methods)
    for asked in plan.methods:
        try:
            with course.untouched(asked.method.card.name):
                explained.append(_explain(plan, asked, value_of))
        except MethodNotApplicable as error:
            if asked.by_caller:
                refused[asked.method.card.name] = str(error)
                if len(refused) == named:
                    raise
    course.begin_checks([e.name for e in explained], forward)
    return Subject(plan.model, plan.feeds, plan.output, tuple(explained), plan.labels, plan.seed, course.once, refused)


def _explain(plan: Plan, asked: Asked, value_of: Callable[[str], Array]) -> Explained:
    model, feeds, method = plan.model, plan.feeds, asked.method
    name, notes = target_name(model, method, plan.target)
    target = resolve_target(plan.target, name, value_of, model.batched(feeds))
    wanted = reachable_inputs(model, method, target.output)
    request = Request(model, feeds, wanted, target, plan.seed, maps.silent)
    require_items(request)
    result = maps.attribute(method, asked.params, request)
    caveats = (*method.caveats, *notes, *result.caveats)
    flat = maps.flat(result.values, request.batched)
    return Explained(method, asked.params, wanted, target, result, flat, asked.by_caller, caveats)
