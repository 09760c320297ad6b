"""What an audit is asked for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import read_params
from explainsvc.check import Check
from explainsvc.checks import CHECKS, find_check
from explainsvc.errors import InvalidInput, InvalidParameter, UnknownMethod, Violation
from explainsvc.inputs import check_feeds
from explainsvc.method import Method, Progress, silent
from explainsvc.methods import METHODS, find_method
from explainsvc.model import Model
from explainsvc.target import Target

if TYPE_CHECKING:
    from explainsvc.checks.journal import Journal
    from explainsvc.checks.pace import Standing

Parameters = Mapping[str, Mapping[str, Any]]
DEFAULT_CHECKS = ("parameter_randomization",)


@dataclass(frozen=True)
class Question:
    """The arguments of an audit as its caller gives them; :func:`explainsvc.checks.audit.audit` describes them."""

    methods: Sequence[str]
    checks: Sequence[str] = DEFAULT_CHECKS
    target: Target = None
    labels: Any = None
    seed: int = 0
    progress: Progress | None = None
    parameters: Parameters | None = None
    on_standing: Callable[[Standing], None] | None = None
    journal: Journal | None = None


@dataclass(frozen=True)
class Asked:
    """A method with its parameters; ``by_caller`` is False for a control that a check runs beside."""

    method: Method
    params: Any
    by_caller: bool


@dataclass(frozen=True)
class Plan:
    """What will be done. ``output`` is the model output whose change is reported."""

    model: Model
    feeds: dict[str, Array]
    methods: tuple[Asked, ...]
    checks: tuple[tuple[Check, Any], ...]
    target: Target
    output: str
    labels: Array | None
    seed: int
    progress: Progress
    on_standing: Callable[[Standing], None] = silent
    journal: Journal | None = None


def plan_audit(model: Model, feeds: Mapping[str, Any], question: Question) -> Plan:
    """Reads a question against a model.

    Raises:
        UnknownMethod: No method or check has one of the names.
        InvalidParameter: Of a method or check; or there is no method or check. Lists everything that is wrong.
        InvalidInput: The feeds or labels do not fit the model.
    """
    q = question
    _require_known(q)
    checks = {name: find_check(name) for name in q.checks}
    controls = [name for check in checks.values() for name in check.controls]
    methods = {name: find_method(name) for name in (*q.methods, *controls)}
    params = _params(q, {**methods, **checks})
    asked = tuple(Asked(m, params[n], n in q.methods) for n, m in methods.items())
    ready = tuple((c, params[n]) for n, c in checks.items())
    arrays = check_feeds(feeds, model.inputs, model.frozen_batch)
    items = next((len(a) for a in arrays.values() if a.ndim), 1) if model.batched(arrays) else 1
    return Plan(
        model, arrays, asked, ready, q.target, _output(model, q.target), _labels(q.labels, items), int(q.seed),
        q.progress or silent, q.on_standing or silent, q.journal,
    )  # fmt: skip


def _require_known(question: Question) -> None:
    """All names that no method and no check has."""
    asked = (("methods", question.methods, METHODS), ("checks", question.checks, CHECKS))
    violations = [
        Violation(f"{field}[{place}]", f"is {name!r}; known: {', '.join(sorted(known))}")
        for field, names, known in asked
        for place, name in enumerate(names)
        if name not in known
    ]
    if violations:
        raise UnknownMethod("the audit names what does not exist", violations=violations,
                            to_do="`explainsvc methods` and `explainsvc checks` list what there is")  # fmt: skip


def _params(question: Question, owners: Mapping[str, Method | Check]) -> dict[str, Any]:
    """The parameters of every method and check; at least one of each is named, and no parameters are given for others."""
    given = dict(question.parameters or {})
    named = {"methods": question.methods, "checks": question.checks}
    violations = [Violation(field, "is empty") for field, names in named.items() if not names]
    words = "is no method or check of this audit"
    violations += [Violation(f"parameters.{name}", words) for name in given if name not in owners]
    found: dict[str, Any] = {}
    for name, owner in owners.items():
        params: type[Any] = owner.params
        try:
            found[name] = read_params(params, given.get(name, {}), name)
        except InvalidParameter as error:
            wrong = [(v.field.removeprefix("parameters."), v.description) for v in error.violations]
            violations += [Violation(f"parameters.{name}.{field}", description) for field, description in wrong]
    if violations:
        raise InvalidParameter("the audit cannot be run", violations=violations)
    return found


def _output(model: Model, target: Target) -> str:
    """The output whose change is reported: the target's where it is an output, else the default one."""
    named = str(target.get("output") or "") if isinstance(target, Mapping) else ""
    return named if any(t.name == named for t in model.outputs) else model.default_output


def _labels(labels: Any, items: int) -> Array | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (items,) or array.dtype.kind not in "iu":
        wrong = f"are {array.dtype}{list(array.shape)}, expected integers [{items}]: a class index per item"
        raise InvalidInput("the labels do not fit", violations=[Violation("labels", wrong)])
    return array
