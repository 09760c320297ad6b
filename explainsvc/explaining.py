"""One explanation, straight down: target, inputs, method, result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.asking import Question, understood
from explainsvc.attribution import Attribution, versions
from explainsvc.autograd.shapes import Array
from explainsvc.cards import plain, recorded
from explainsvc.engine import attribute
from explainsvc.errors import ExplainsvcError
from explainsvc.explained import finds_largest
from explainsvc.inspection import target_name, wanted_inputs
from explainsvc.memory import remember
from explainsvc.method import Progress, Request, Result, Watch, silent
from explainsvc.rest import inner_values, of_the_whole, rest_at
from explainsvc.target import Target, is_explicit, is_largest, largest_of, resolve_target

if TYPE_CHECKING:
    from explainsvc.model import Model


def explain(
    model: Model,
    feeds: Mapping[str, Any],
    method: str,
    target: Target,
    inputs: Sequence[str] | None,
    seed: int,
    progress: Progress,
    parameters: Mapping[str, Any],
    watch: Watch = silent,
) -> Attribution:
    """See :meth:`explainsvc.model.Model.explain`."""
    known = understood(model, feeds, Question(method, target, inputs, seed, parameters))
    found, params, checked, random = known.method, known.params, known.feeds, known.seed
    if inner := inner_values(model, inputs or ()):
        rest, at = rest_at(model, inner, checked)
        return of_the_whole(model, explain(rest, at, method, target, inputs, seed, progress, parameters, watch))
    name, notes = target_name(model, found if found.inner is None else found.inner(params), target)
    wanted = wanted_inputs(model, inputs, found, name)

    batched, value_of = model.batched(checked), cache(partial(model.value_of, checked))
    asked = Request(model, checked, wanted, largest_of(name), random, progress, watch=watch, largest=True)

    def on(value_of: Callable[[str], Array]) -> Request:
        return replace(asked, target=resolve_target(target, name, value_of, batched), largest=False)

    def run(value_of: Callable[[str], Array]) -> tuple[Request, Result]:
        return (request := on(value_of)), attribute(found, params, request)

    if found.one_run and not (model.prepared.upcast or model.prepared.dequantized):
        key = (name, *((n, a.shape) for n, a in sorted(checked.items())))
        largest = is_largest(target) and finds_largest(model.graph, name)
        told = _largest_in_one_run(partial(attribute, found, params, asked), on) if largest else None
        shape = model.memory.shapes.get(key) if is_explicit(target) else None
        request, result, output = _in_one_run(run, value_of, shape) if told is None else told
        remember(model.memory.shapes, key, _numberless(output))
    else:
        request = on(value_of)
        output = value_of(request.target.output)
        result = attribute(found, params, replace(request, known=output))
    in_force = recorded(params) | plain(result.parameters)
    resolved = request.target
    return Attribution(
        method, result.values, resolved, resolved.value(output, request.batched), result.baseline_value, result.residual,
        in_force, random, model.digest, versions(), (*found.caveats, *notes, *model.caveats, *result.caveats),
    )  # fmt: skip


def _largest_in_one_run(
    run: Callable[[], Result], on: Callable[[Callable[[str], Array]], Request]
) -> tuple[Request, Result, Array] | None:
    """The graph finds the largest element; what it is called is read from the value that the graph tells.

    None where the value has a NaN, of which each library has another largest one.
    """
    result = run()
    if (output := result.output) is None or np.isnan(output).any():
        return None
    return on(lambda _: output), result, output


def _in_one_run(
    run: Callable[[Callable[[str], Array]], tuple[Request, Result]], value_of: Callable[[str], Array], known: Array | None
) -> tuple[Request, Result, Array]:
    """Runs a method that is one graph: what it ran on, its result, and the explained value, which the graph tells too.

    A target that names its index needs the value's shape only. Where inputs of these shapes gave it before (``known``), no
    forward pass is made for it; the graph's own value says whether the shape was right.
    """
    if known is not None:
        with suppress(ExplainsvcError):  # said again below, unless only the shape was wrong
            request, result = run(lambda _: known)
            if result.output is not None and result.output.shape == known.shape:
                return request, result, result.output
    request, result = run(value_of)
    return request, result, value_of(request.target.output) if result.output is None else result.output


def _numberless(value: Array) -> Array:
    """The shape and type of an explained value, in no memory."""
    return np.broadcast_to(np.zeros((), value.dtype), value.shape)
