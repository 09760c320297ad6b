"""What a worker does for Explain and its kin: from a request to its response, and what is told on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.audit_service_pb2 import AuditValidation, CreateAuditRequest, Progress
from explainsvc.asking import Question, Validated, refuse, validate, validate_compiling
from explainsvc.autograd.shapes import Array
from explainsvc.cards import recorded
from explainsvc.checks.plan import Question as AuditQuestion
from explainsvc.checks.plan import plan_audit
from explainsvc.codec.audits import from_audit_request
from explainsvc.codec.parameters import to_struct
from explainsvc.codec.pictures import check_rendering, drawn, from_inputs
from explainsvc.codec.questions import from_fields
from explainsvc.codec.results import fill_facts
from explainsvc.codec.targets import to_resolved
from explainsvc.codec.tensors import to_named
from explainsvc.drawings import Given
from explainsvc.errors import InvalidInput, InvalidParameter, NotDifferentiable
from explainsvc.inspection import ways_around
from explainsvc.method import Estimate, Watch, silent
from explainsvc.method import Progress as Done
from explainsvc.model import Model

LOG = logging.getLogger(__name__)
Tell = Callable[[pb.ExplainStreamResponse], None]
Values = Mapping[str, Array]
"""Of an attribution, by input."""


@dataclass(frozen=True)
class Heard:
    """Who hears of an explanation while it is computed."""

    progress: Done = silent
    watch: Watch = silent


def explained(model: Model, request: pb.ExplainRequest, response: pb.ExplainResponse, heard: Heard | None = None) -> Values:
    """The response to Explain, or with validate_only the question as it was understood; load and queue are not timed here.

    Returns the values, which are large; they are not in the response.
    """
    start, heard = perf_counter(), heard or Heard()
    fields, given = _read(model, request)
    if request.validate_only:
        response.validation.CopyFrom(to_validation(validate(model, given.feeds, _question(fields, request.seed))))
        return {}
    attribution = model.explain(given.feeds, seed=request.seed, progress=heard.progress, watch=heard.watch, **fields)
    fill_facts(response.attribution, attribution)
    if request.HasField("render"):
        pictures, left_out = drawn(request.render, attribution, given)
        response.pictures.extend(pictures)
        response.pictures_left_out = left_out
    response.attribution.timings.compute_milliseconds = 1000 * (perf_counter() - start)
    return attribution.values


def _read(model: Model, request: pb.ExplainRequest) -> tuple[dict[str, Any], Given]:
    """The question's fields and its inputs; what is malformed in several of them is one error."""
    fields: dict[str, Any] = {}
    given = Given({}, {})
    errors = []
    try:
        fields = from_fields(request)
    except (InvalidInput, InvalidParameter) as error:
        errors.append(error)
    try:
        given = from_inputs(request, model.inputs)
    except InvalidInput as error:
        errors.append(error)
    try:
        check_rendering(request.render)
    except InvalidParameter as error:
        errors.append(error)
    refuse(errors)
    return fields, given


def _question(fields: dict[str, Any], seed: int) -> Question:
    own = {name: fields[name] for name in ("method", "target", "inputs")}
    return Question(**own, seed=seed, parameters={name: value for name, value in fields.items() if name not in own})


def validated_compiling(model: Model, request: pb.CompileExplanationRequest) -> pb.Validation:
    """The answer to CompileExplanation with validate_only."""
    return to_validation(validate_compiling(model, _question(from_fields(request), 0)))


def to_validation(found: Validated) -> pb.Validation:
    """The message of a question as it was understood."""
    return pb.Validation(
        method=found.method,
        output=found.output,
        target=None if found.target is None else to_resolved(found.target),
        explained_inputs=found.inputs,
        parameters=to_struct(found.parameters),
        seed=found.seed,
        caveats=found.caveats,
    )


def streamed(model: Model, request: pb.ExplainStreamRequest, response: pb.ExplainResponse, tell: Tell) -> Values:
    """See ``explained``; progress and estimates go ahead of it, no more often than the request says."""
    interval = request.interval.seconds + request.interval.nanos / 1e9 if request.HasField("interval") else 1.0
    if interval < 0:
        raise InvalidParameter("the interval is not valid", where="interval", expected="no negative duration")
    last = {"progress": -interval, "estimate": perf_counter()}

    def due(what: str) -> bool:
        now = perf_counter()
        if now - last[what] < interval:
            return False
        last[what] = now
        return True

    def progress(done: int, total: int, what: str) -> None:
        if due("progress") or done == total:
            tell(pb.ExplainStreamResponse(progress=Progress(done=done, total=total, what=what)))

    def watch(_samples: int, _total: int, estimate: Callable[[], Estimate]) -> None:
        if due("estimate"):
            tell(pb.ExplainStreamResponse(partial=_to_partial(estimate())))

    return explained(model, request.request, response, Heard(progress, watch))


def _to_partial(estimate: Estimate) -> pb.PartialEstimate:
    return pb.PartialEstimate(
        samples=estimate.samples,
        total=estimate.total,
        values=to_named(dict(estimate.values), "values"),
        standard_errors=to_named(dict(estimate.standard_errors), "standard_errors"),
    )


def audit_feeds(model: Model, request: CreateAuditRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The feeds and the keyword arguments of ``Model.audit``, picture files among the feeds."""
    _, question = from_audit_request(request)
    return dict(from_inputs(request, model.inputs).feeds), question


def validated_audit(model: Model, request: CreateAuditRequest) -> AuditValidation:
    """The answer to CreateAudit with validate_only."""
    feeds, question = audit_feeds(model, request)
    plan = plan_audit(model, feeds, AuditQuestion(**question))
    owners = {a.method.card.name: a.params for a in plan.methods} | {c.card.name: params for c, params in plan.checks}
    items = next((len(a) for a in plan.feeds.values() if a.ndim), 1) if model.batched(plan.feeds) else 1
    return AuditValidation(
        methods=[a.method.card.name for a in plan.methods if a.by_caller],
        controls=[a.method.card.name for a in plan.methods if not a.by_caller],
        checks=[check.card.name for check, _ in plan.checks],
        parameters={name: to_struct(recorded(params)) for name, params in owners.items()},
        output=plan.output,
        seed=plan.seed,
        items=items,
    )


def advised(error: NotDifferentiable, model: Model) -> NotDifferentiable:
    """The refusal of an operator, with the methods that do work; as it is where even finding them fails."""
    try:
        return error.knowing(methods=", ".join(ways_around(model)))
    except Exception:  # it is an answer's ornament, and must not take the place of the answer
        LOG.exception("no way around an operator was found")
        return error
