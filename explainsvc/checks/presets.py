"""Plans of audits: which methods and checks, from three presets or from a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from explainsvc.checks.plan import DEFAULT_CHECKS, Parameters
from explainsvc.errors import InvalidParameter, Violation


@dataclass(frozen=True)
class AuditPlan:
    """What an audit does; an empty field is left to the caller.

    Attributes:
        methods: Names of methods.
        checks: Names of checks.
        parameters: Method or check → its parameters.
        target: As in ``Model.explain``.
        seed: Of all random numbers.
    """

    methods: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: Any = None
    seed: int | None = None


COMMON = ("gradient", "input_x_gradient", "integrated_gradients")
"""Methods that work on every differentiable model."""
SAMPLED: Mapping[str, Mapping[str, Any]] = {
    "integrated_gradients": {"steps": 16}, "smoothgrad": {"samples": 16}, "parameter_randomization": {"blocks": "scope"},
    "continuity": {"samples": 4},
}  # fmt: skip
"""A third to two fifths of the samples, and steps by module, let ``standard`` end while one waits for it; ``full`` has the
papers' defaults."""
PRESETS = {
    "quick": AuditPlan(COMMON, ("learned", "parameter_randomization", "completeness")),
    "standard": AuditPlan(
        (*COMMON, "smoothgrad", "guided_backprop", "lrp_epsilon_plus"),
        (
            "learned", "parameter_randomization", "completeness", "conservation", "continuity", "random_logit", "pixel_flipping",
            "complexity",
        ),
        SAMPLED,
    ),
    "full": AuditPlan(
        (*COMMON, "smoothgrad", "guided_backprop", "lrp_epsilon_plus", "deeplift", "grad_cam", "occlusion"),
        (
            "learned", "parameter_randomization", "smooth_mprt", "efficient_mprt", "completeness", "conservation", "continuity",
            "max_sensitivity", "implementation_invariance", "input_invariance", "random_logit", "pixel_flipping", "deletion",
            "insertion", "sensitivity_n", "infidelity", "road", "complexity", "fragility",
        ),
    ),
}  # fmt: skip
"""By name. Methods that do not apply to a model are said to be refused; the others go on."""


def read_plan(text: str) -> AuditPlan:
    """A plan from the text of a TOML or JSON file; its keys are the fields of :class:`AuditPlan`.

    Raises:
        InvalidParameter: It is neither, or has unknown keys or wrong types.
    """
    document = _document(text)
    known = {f.name for f in fields(AuditPlan)}
    violations = [Violation(f"plan.{key}", f"is unknown; known: {', '.join(sorted(known))}") for key in document.keys() - known]
    violations += [
        Violation(f"plan.{key}", "expected a list of names") for key in ("methods", "checks") if not _names(document, key)
    ]
    parameters, seed = document.get("parameters", {}), document.get("seed")
    if not isinstance(parameters, Mapping) or not all(isinstance(value, Mapping) for value in parameters.values()):
        violations.append(Violation("plan.parameters", "expected a table per method or check"))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        violations.append(Violation("plan.seed", f"is {seed!r}, expected an integer"))
    if violations:
        raise InvalidParameter("the plan is not valid", violations=violations)
    methods, checks = (tuple(document.get(key, ())) for key in ("methods", "checks"))
    return AuditPlan(methods, checks, parameters, document.get("target"), seed)


def plan_named(name: str) -> AuditPlan:
    """A preset.

    Raises:
        InvalidParameter: There is none of this name.
    """
    if name not in PRESETS:
        wrong = Violation("preset", f"is {name!r}, expected one of {', '.join(PRESETS)}")
        raise InvalidParameter("there is no such plan", violations=[wrong])
    return PRESETS[name]


def overridden(
    plan: AuditPlan, methods: Sequence[str] = (), checks: Sequence[str] = (), parameters: Parameters | None = None
) -> AuditPlan:
    """The plan with what its caller gives in place of it; parameters of methods and checks that this leaves out go with them.

    Without checks by either it is the default one; methods may be missing still.
    """
    asked = replace(plan, methods=tuple(methods or plan.methods), checks=tuple(checks or plan.checks or DEFAULT_CHECKS))
    left_out = {*plan.methods, *plan.checks} - {*asked.methods, *asked.checks}
    first, second = {name: p for name, p in plan.parameters.items() if name not in left_out}, parameters or {}
    return replace(asked, parameters={name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}})


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"the plan is neither TOML nor JSON: {error}", where="plan") from error
    return dict(document)


def _names(document: Mapping[str, Any], key: str) -> bool:
    names = document.get(key, [])
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
