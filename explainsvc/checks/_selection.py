"""What select_parameters measures of one explanation: conservation, continuity, selectivity; and ranks over several."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
from scipy.stats import rankdata

from explainsvc.autograd.shapes import Array
from explainsvc.cards import read_params
from explainsvc.check import Explained
from explainsvc.checks import _flipping as flipping
from explainsvc.checks import maps
from explainsvc.checks._features import features_of
from explainsvc.checks._substitutes import by_item, substitutes
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.method import Request, Result
from explainsvc.variations import target_values
from explainsvc.weights import seed_sequence


class Flipping(Protocol):
    """How pixel flipping is done."""

    @property
    def steps(self) -> int:
        """Steps of equal size."""

    @property
    def window(self) -> Any:
        """What is replaced together."""

    @property
    def baseline(self) -> Any:
        """What takes the place."""


def values_of(parameter: str, given: Any) -> list[Any]:
    """The values to try.

    Raises:
        InvalidParameter: No parameter is named, or there are no values.
    """
    violations = [] if parameter else [Violation("parameters.parameter", "is empty, expected the name of a method's parameter")]
    try:
        values = json.loads(given) if isinstance(given, str) else list(given)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, list) or not values:
        violations.append(Violation("parameters.values", f"is {given!r}, expected a list of values"))
    if violations:
        raise InvalidParameter("it is not said what to try", violations=violations)
    return list(values or ())


def with_value(e: Explained, parameter: str, value: Any) -> Any:
    """The method's parameters with one exchanged.

    Raises:
        MethodNotApplicable: The method has no such parameter.
        InvalidParameter: The value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(e.params)]
    if parameter not in names:
        raise MethodNotApplicable(
            f'it has no parameter "{parameter}"',
            where=f"method {e.name}",
            expected=f"one of {', '.join(names)}" if names else "a method with parameters",
        )
    kind: type[Any] = e.method.params
    return dataclasses.replace(e.params, **{parameter: getattr(read_params(kind, {parameter: value}, e.name), parameter)})


def explained_again(request: Request, e: Explained) -> Result:
    """The method's result for all items, with the parameters that ``e`` holds."""
    return maps.attribute(e.method, e.params, request)


def conservation(request: Request, result: Result) -> Array:
    """|Σ R − what it should be| / |S| per item: the method's own residual where it has one, else against S."""
    s = np.concatenate([target_values(maps.part_of(request, g)) for g in maps.groups(request.model, request.feeds)])
    own = result.residual is not None and result.residual.shape == s.shape
    residual = result.residual if own and result.residual is not None else _flat(request, result.values).sum(axis=1) - s
    return np.asarray(np.divide(np.abs(residual), np.abs(s), out=np.full(len(s), np.nan), where=s != 0))


def _flat(request: Request, values: Mapping[str, Array]) -> Array:
    return maps.flat({name: value.astype(np.float64) for name, value in values.items()}, request.batched)


def continuity(request: Request, e: Explained, result: Result, neighbours: int, noise: float) -> Array:
    """The largest relative change of the map over the relative change of the input, over random neighbours, per item.

    Raises:
        MethodNotApplicable: An explained input has no neighbours: integers, or one that all items share.
    """
    here, x = _flat(request, result.values), _flat(request, {name: request.feeds[name] for name in request.wanted})
    found = np.zeros(len(here))
    for k in range(neighbours):
        moved = {name: _moved(request, name, noise, k) for name in request.wanted}
        there = _flat(request, explained_again(request.on(request.feeds | moved), e).values)
        found = np.maximum(found, _relative(there - here, here) / _relative(_flat(request, moved) - x, x))
    return found


def _relative(change: Array, to: Array) -> Array:
    size = np.linalg.norm(to, axis=1)
    return np.asarray(np.divide(np.linalg.norm(change, axis=1), size, out=np.full(len(size), np.nan), where=size > 0))


def _moved(request: Request, name: str, noise: float, k: int) -> Array:
    x = by_item(request, name)
    if x.dtype.kind != "f":
        raise MethodNotApplicable(f'"{name}" holds {x.dtype}', where="check select_parameters", expected="float inputs")
    rng = np.random.default_rng(seed_sequence(request.seed, f"neighbours/{name}/{k}"))
    spread = np.ptp(x.reshape(len(x), -1), axis=1).reshape(-1, *[1] * (x.ndim - 1))
    return np.asarray((x + noise * spread * rng.standard_normal(x.shape)).astype(x.dtype).reshape(request.feeds[name].shape))


def gain(request: Request, result: Result, p: Flipping, known: dict[Hashable, Array]) -> Array:
    """AOPC of the map's order (MoRF) less that of the random order, per item."""
    features = features_of(request, p.window)
    counts = flipping.evenly(features.count, p.steps)
    scores = features.sums(result.values)
    walk = flipping.Walk(request, features, substitutes(p.baseline, request), counts)
    found = flipping.with_random(walk, scores, (flipping.MORF,), known)
    difference = (found[flipping.RANDOM] - found[flipping.MORF]).mean(axis=0)
    return np.where(np.isfinite(scores).all(axis=1), difference, np.nan)


def mean_ranks(measures: Mapping[str, Array]) -> Array:
    """Per value and item, the mean of its ranks by all measures ([value, item], smallest best); ties get their mean rank."""
    return np.asarray(np.mean([rankdata(measure, axis=0) for measure in measures.values()], axis=0))
