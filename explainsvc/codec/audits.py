"""Audits: what ``Model.audit`` takes ↔ ``CreateAuditRequest``, whose preset or plan is written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import struct_pb2

from explainpb.v1.audit_service_pb2 import CreateAuditRequest
from explainsvc.checks.plan import DEFAULT_CHECKS
from explainsvc.checks.presets import AuditPlan, overridden, plan_named, read_plan
from explainsvc.codec.parameters import from_struct, to_struct
from explainsvc.codec.targets import from_target, to_target
from explainsvc.codec.tensors import from_named, from_tensor, to_named, to_tensor
from explainsvc.errors import ExplainsvcError, InvalidParameter, Violation


@dataclass(frozen=True)
class AuditQuestion:
    """What is asked of an audit on a server; the fields are those of the request, and ``Model.audit`` describes them."""

    methods: Sequence[str] = ()
    checks: Sequence[str] = ()
    target: Any = None
    labels: Any = None
    seed: int | None = None
    parameters: Mapping[str, Mapping[str, Any]] | None = None
    preset: str = ""
    plan: str = ""


def to_audit_request(digest: str, inputs: Mapping[str, Any], question: AuditQuestion, keep_running: bool) -> CreateAuditRequest:
    """The request of an audit of a stored model."""
    return CreateAuditRequest(
        model_digest=digest,
        inputs=to_named(inputs),
        methods=question.methods,
        checks=question.checks,
        target=to_target(question.target),
        labels=None if question.labels is None else to_tensor(np.asarray(question.labels), "labels"),
        seed=question.seed,
        parameters=_structs(question.parameters or {}),
        preset=question.preset,
        plan=question.plan,
        keep_running=keep_running,
    )


def from_audit_request(request: CreateAuditRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The feeds and the keyword arguments of ``Model.audit``, of a request that is :func:`written_out`."""
    return from_named(request.inputs), {
        "methods": list(request.methods),
        "checks": list(request.checks) or DEFAULT_CHECKS,
        "target": from_target(request.target),
        "labels": from_tensor(request.labels, "labels") if request.HasField("labels") else None,
        "seed": request.seed,
        "parameters": _dicts(request.parameters),
    }


def written_out(request: CreateAuditRequest) -> CreateAuditRequest:
    """The request with the methods, checks, parameters, target and seed of its preset or plan; its own come first.

    Raises:
        InvalidParameter: Both a preset and a plan, neither that nor a method, or one that is not valid; lists all violations.
    """
    plan, violations = _plan_of(request)
    if not (request.methods or plan.methods or violations):
        violations = [Violation("methods", "is empty, and no preset or plan names any")]
    if violations:
        raise InvalidParameter("the audit cannot be accepted", violations=violations)
    whole = CreateAuditRequest()
    whole.CopyFrom(request)
    for field in ("preset", "plan", "parameters"):
        whole.ClearField(field)
    asked = overridden(plan, request.methods, request.checks, _dicts(request.parameters))
    whole.methods[:], whole.checks[:] = asked.methods, asked.checks
    target = None if request.HasField("target") else to_target(plan.target)
    if target is not None:
        whole.target.CopyFrom(target)
    whole.seed = request.seed if request.HasField("seed") else plan.seed or 0
    for name, parameters in _structs(asked.parameters).items():
        whole.parameters[name].CopyFrom(parameters)
    return whole


def _plan_of(request: CreateAuditRequest) -> tuple[AuditPlan, list[Violation]]:
    """The preset's or the plan's, and what is wrong with either."""
    plan, violations = AuditPlan(), []
    if request.preset and request.plan:
        violations.append(Violation("plan", "is given beside a preset; one of the two is enough"))
    for text, read in ((request.preset, plan_named), (request.plan, _read)):
        try:
            plan = read(text) if text else plan
        except ExplainsvcError as error:
            violations += error.violations or [Violation("plan", error.what)]
    return plan, violations


def _read(text: str) -> AuditPlan:
    """A plan whose target, parameters and seed can be sent."""
    plan = read_plan(text)
    to_target(plan.target)
    if plan.seed is not None and not -(2**63) <= plan.seed < 2**63:
        raise InvalidParameter("the plan is not valid", violations=[Violation("plan.seed", "has more than 64 bits")])
    _structs(plan.parameters)
    return plan


def _structs(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, struct_pb2.Struct]:
    return {name: to_struct(values, f"parameters.{name}") for name, values in parameters.items()}


def _dicts(parameters: Mapping[str, struct_pb2.Struct]) -> dict[str, dict[str, Any]]:
    return {name: from_struct(parameters[name]) for name in parameters}
