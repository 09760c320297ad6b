"""One explanation, straight down: target, inputs, method, result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.attribution import Attribution, versions
from explainsvc.autograd.shapes import Array
from explainsvc.cards import plain, read_params, recorded
from explainsvc.engine import attribute
from explainsvc.errors import ExplainsvcError
from explainsvc.inputs import check_feeds, check_seed
from explainsvc.inspection import target_name, wanted_inputs
from explainsvc.method import Progress, Request, Result
from explainsvc.methods import find_method
from explainsvc.rest import inner_values, of_the_whole, rest_at
from explainsvc.target import ResolvedTarget, Target, is_explicit, resolve_target

if TYPE_CHECKING:
    from explainsvc.model import Model

KNOWN_SHAPES = 256
"""Of the explained value, remembered per model; texts of every length must not add up."""


def explain(
    model: Model,
    feeds: Mapping[str, Any],
    method: str,
    target: Target,
    inputs: Sequence[str] | None,
    seed: int,
    progress: Progress,
    parameters: Mapping[str, Any],
) -> Attribution:
    """See :meth:`explainsvc.model.Model.explain`."""
    found = find_method(method)
    params: Any = read_params(found.params, parameters, method)
    checked = check_feeds(feeds, model.inputs, model.frozen_batch)
    if inner := inner_values(model, inputs or ()):
        rest, at = rest_at(model, inner, checked)
        return of_the_whole(model, explain(rest, at, method, target, inputs, seed, progress, parameters))
    name, notes = target_name(model, found if found.inner is None else found.inner(params), target)
    wanted = wanted_inputs(model, inputs, found, name)
    random = check_seed(seed)

    def run(resolved: ResolvedTarget) -> tuple[Request, Result]:
        request = Request(model, checked, wanted, resolved, random, progress)
        return request, attribute(found, params, request)

    request, result, output = _on_known_shape(model, checked, target, name, run)
    in_force = recorded(params) | plain(result.parameters)
    resolved = request.target
    return Attribution(
        method, result.values, resolved, resolved.value(output, request.batched), result.baseline_value, result.residual,
        in_force, random, model.digest, versions(), (*found.caveats, *notes, *model.caveats, *result.caveats),
    )  # fmt: skip


def _on_known_shape(
    model: Model,
    feeds: Mapping[str, Array],
    target: Target,
    name: str,
    run: Callable[[ResolvedTarget], tuple[Request, Result]],
) -> tuple[Request, Result, Array]:
    """Runs a method; what it ran on, its result, and the explained value.

    A target that names its index needs the value's shape only. Where inputs of these shapes gave it before, no forward
    pass is made for it: the explained graph tells the value, and whether the shape was right.
    """
    batched, value_of = model.batched(feeds), cache(partial(model.value_of, feeds))
    key = (name, *((n, a.shape) for n, a in sorted(feeds.items())))
    known = model.shapes.get(key) if is_explicit(target) else None
    if known is not None:
        with suppress(ExplainsvcError):  # said again below, unless only the shape was wrong
            request, result = run(resolve_target(target, name, lambda _: known, batched))
            if result.output is None or result.output.shape == known.shape:
                return request, result, _explained_value(model, request, result, value_of)
    request, result = run(resolve_target(target, name, value_of, batched))
    value = _explained_value(model, request, result, value_of)
    if len(model.shapes) >= KNOWN_SHAPES:
        model.shapes.clear()
    model.shapes[key] = np.broadcast_to(np.zeros((), value.dtype), value.shape)
    return request, result, value


def _explained_value(model: Model, request: Request, result: Result, value_of: Callable[[str], Array]) -> Array:
    """The method's own run tells it as well as the untouched model, unless the explained graph is a twin that rounds less."""
    twin = model.prepared.upcast or model.prepared.dequantized
    return value_of(request.target.output) if twin or result.output is None else result.output
