"""What is asked of an explanation, held against the model before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.autograd.shapes import Array, shape_of
from explainsvc.cards import read_params, recorded
from explainsvc.engine import build, program_of
from explainsvc.errors import (
    ExplainsvcError,
    InvalidInput,
    InvalidParameter,
    InvalidRequest,
    UnknownMethod,
    Violation,
)
from explainsvc.explained import find_value
from explainsvc.inputs import check_feeds, check_seed
from explainsvc.inspection import check_names, target_name, wanted_inputs
from explainsvc.method import Method
from explainsvc.methods import find_method
from explainsvc.rest import inner_values, rest_of
from explainsvc.target import ResolvedTarget, Target, is_explicit, resolve_target

if TYPE_CHECKING:
    from explainsvc.model import Model

REFUSALS = (UnknownMethod, InvalidParameter, InvalidInput)
"""What one field of a request alone can be refused for."""


@dataclass(frozen=True)
class Question:
    """One explanation as a caller asks for it; the fields are the arguments of ``Model.explain``."""

    method: str
    target: Target = None
    inputs: Sequence[str] | None = None
    seed: int = 0
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Understood:
    """The fields of a question that can be read one by one."""

    method: Method
    params: Any
    feeds: dict[str, Array]
    seed: int


@dataclass(frozen=True)
class Validated:
    """A question that can be computed, as far as can be told without running the model.

    ``target`` is None where only the model's output tells it; ``parameters`` are those in force, defaults included.
    """

    method: str
    output: str
    target: ResolvedTarget | None
    inputs: tuple[str, ...]
    parameters: dict[str, Any]
    seed: int
    caveats: tuple[str, ...]


def understood(model: Model, feeds: Mapping[str, Any], question: Question) -> Understood:
    """Reads every field of a question by itself; what is wrong with several of them is one error.

    Raises:
        UnknownMethod, InvalidParameter, InvalidInput: One of them is wrong.
        InvalidRequest: Several are; lists all violations.
    """
    q, errors = question, list[ExplainsvcError]()
    found = _read(errors, find_method, q.method)
    params = None if found is None else _read(errors, read_params, found.params, q.parameters or {}, q.method)
    checked = _read(errors, check_feeds, feeds, model.inputs, model.frozen_batch)
    if q.inputs is not None and not inner_values(model, q.inputs):
        _read(errors, check_names, model, q.inputs)
    seed = _read(errors, check_seed, q.seed)
    refuse(errors)
    return Understood(found, params, checked, seed)


def _read(errors: list[ExplainsvcError], read: Callable[..., Any], *given: Any) -> Any:
    """What is read, or None and one error more."""
    try:
        return read(*given)
    except REFUSALS as error:
        errors.append(error)
        return None


def refuse(errors: Sequence[ExplainsvcError]) -> None:
    """Raises what is wrong with the fields of a request, if anything is: one error as it is, several together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        violations = [v for error in errors for v in (error.violations or [Violation(error.where, error.what)])]
        raise InvalidRequest("several fields of the request are not valid", violations=violations)


def validate(model: Model, feeds: Mapping[str, Any], question: Question) -> Validated:
    """Everything about a question that can be known without running the model; its explained graph is built.

    Raises:
        ExplainsvcError: As ``Model.explain`` would, for whatever does not need the model's numbers.
    """
    known = understood(model, feeds, question)
    at = rest_of(model, inner) if (inner := inner_values(model, question.inputs or ())) else model
    return _validated(at, known, question)


def validate_compiling(model: Model, question: Question) -> Validated:
    """Of a question without inputs; only its target's output counts."""
    found = find_method(question.method)
    params: Any = read_params(found.params, question.parameters or {}, question.method)
    program_of(found, params)
    target = question.target.get("output") if isinstance(question.target, Mapping) else None
    asked = Question(question.method, {"output": target} if target else None, question.inputs, 0, question.parameters)
    at = rest_of(model, inner) if (inner := inner_values(model, question.inputs or ())) else model
    return _validated(at, Understood(found, params, {}, 0), asked)


def _validated(model: Model, known: Understood, question: Question) -> Validated:
    found, params = known.method, known.params
    base = found if found.inner is None else found.inner(params)
    output, notes = target_name(model, base, question.target)
    wanted = wanted_inputs(model, question.inputs, found, output)
    resolved = _resolved(model, known.feeds, question.target, output) if is_explicit(question.target) else None
    if found.requires is not None:
        found.requires(model, output, wanted)
    _rehearse(model, found, base, params, output, wanted)
    caveats = (*found.caveats, *notes, *model.caveats)
    return Validated(found.card.name, output, resolved, wanted, recorded(params), known.seed, caveats)


def _rehearse(model: Model, found: Method, base: Method, params: Any, output: str, wanted: tuple[str, ...]) -> None:
    """Builds the graph that the method, or the one it wraps, or the gradient that it samples, would run.

    Raises:
        ExplainsvcError: It cannot be built.
    """
    probe = base if base.program is not None else find_method("gradient") if base.family == "sampling" else None
    if probe is not None:
        own: Any = params if probe is found else probe.params()
        build(model, probe.card.name, own, program_of(probe, own), output, wanted)


def _resolved(model: Model, feeds: Mapping[str, Array], target: Target, output: str) -> ResolvedTarget | None:
    """The target against the output's declared shape; None where that is not known."""
    batched = model.batched(feeds)

    def declared(name: str) -> Array:
        value = find_value(model.graph, name)
        shape = shape_of(value)
        items = next((len(a) for n, a in feeds.items() if a.ndim and model.leads_with_items(n)), None) if batched else None
        sizes = None if shape is None else [items if axis == 0 and items is not None else n for axis, n in enumerate(shape)]
        if sizes is None or not all(isinstance(n, int) for n in sizes) or value.dtype is None:
            raise _UnknownShape
        return np.broadcast_to(np.zeros((), value.dtype.numpy()), [int(n or 0) for n in sizes])

    with suppress(_UnknownShape):
        return resolve_target(target, output, declared, batched)
    return None


class _UnknownShape(Exception):
    """An output's shape is not declared."""
