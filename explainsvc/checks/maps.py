"""Maps of many inputs: explained in groups that fit into memory, flattened to one row per item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explainsvc import engine
from explainsvc.attribution import value_caveats
from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.method import Method, Request, Result
from explainsvc.model import Model

GROUP_ELEMENTS = 2**21
"""Input elements that are explained at a time: 13 pictures of 3×224×224; a backward pass keeps all activations."""


def groups(model: Model, feeds: Mapping[str, Array]) -> list[slice]:
    """Slices along the batch axis; one for all where they fit, or where the model has no batch axis on every input."""
    items = {len(a) if a.ndim else 0 for a in feeds.values()}
    if len(items) != 1 or not (model.stackable and model.batched(feeds)):
        return [slice(None)]
    count = items.pop()
    size = max(1, GROUP_ELEMENTS * count // max(1, sum(a.size for a in feeds.values())))
    frozen = model.frozen_batch or 1
    step = max(frozen, size // frozen * frozen)
    return [slice(None)] if step >= count else [slice(start, start + step) for start in range(0, count, step)]


def value_of(model: Model, feeds: Mapping[str, Array], name: str) -> Array:
    """An output or inner value for all items."""
    parts = [model.value_of(_cut(feeds, group), name) for group in groups(model, feeds)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _cut(feeds: Mapping[str, Array], group: slice) -> dict[str, Array]:
    return dict(feeds) if group == slice(None) else {name: array[group] for name, array in feeds.items()}


def attribute(method: Method, params: Any, request: Request) -> Result:
    """The method's result for all items.

    Controls see all items at once, for their numbers must not repeat by group; so do methods by which the values of an item
    depend on the other items.
    """
    wrapped = method if method.inner is None else method.inner(params)
    if method.family == "control" or wrapped.whole_batch:
        return engine.attribute(method, params, request)
    requests = list(_requests(request))
    parts = [engine.attribute(method, params, part) for part in requests]
    return parts[0] if len(parts) == 1 else _joined(parts, [len(part.target.seed) for part in requests])


def _requests(request: Request) -> Iterator[Request]:
    for group in groups(request.model, request.feeds):
        yield part_of(request, group)


def part_of(request: Request, group: slice) -> Request:
    """The request of some of the items, as :func:`groups` gives them."""
    whole = group == slice(None)
    target = request.target
    index = target.index if whole or target.index is None else target.index[group]
    seed = target.seed if whole else target.seed[group]
    part = replace(request, feeds=_cut(request.feeds, group), target=replace(target, seed=seed, index=index), known=None)
    return replace(part, first=group.start or 0)


def _joined(parts: Sequence[Result], sizes: Sequence[int]) -> Result:
    """One result; what a look at the values of a group told is told of all values instead."""
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    of_groups = {caveat for part in parts for caveat in value_caveats(part.values)}
    said = dict.fromkeys(caveat for part in parts for caveat in part.caveats if caveat not in of_groups)
    caveats = (*said, *value_caveats(values, zeros=not parts[0].zeros_told))
    at_baseline = _concatenated([part.baseline_value for part in parts])
    residual = _concatenated([part.residual for part in parts])
    parameters = _parameters([part.parameters for part in parts], sizes)
    return Result(values, at_baseline, residual, caveats, parameters, _concatenated([part.output for part in parts]))


def _concatenated(arrays: Sequence[Array | None]) -> Array | None:
    known = [array for array in arrays if array is not None]
    return np.concatenate(known) if len(known) == len(arrays) else None


def _parameters(found: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Arrays along the items; what differs from group to group, once per item."""
    first = found[0]
    if isinstance(first, Mapping):
        return {key: _parameters([each[key] for each in found], sizes) for key in first}
    if isinstance(first, np.ndarray) and first.ndim:
        return np.concatenate(found)
    if all(each == first for each in found):
        return first
    return [each for each, size in zip(found, sizes, strict=True) for _ in range(size)]


def flat(values: Mapping[str, Array], batched: bool) -> Array:
    """[item, element], the explained inputs side by side."""
    return np.concatenate([v.reshape(len(v) if batched else 1, -1) for v in values.values()], axis=1)


def maps_of(explained: Explained, model: Model, feeds: dict[str, Array], seed: int) -> Array:
    """The same explanation of another model: the same inputs, target and parameters; [item, element]."""
    return answer_of(explained, model, feeds, seed)[0]


def answer_of(explained: Explained, model: Model, feeds: dict[str, Array], seed: int) -> tuple[Array, Array | None]:
    """:func:`maps_of`, and the explained value of all items where the method's own run gave it."""
    request = Request(model, feeds, explained.wanted, explained.target, seed, silent)
    result = attribute(explained.method, explained.params, request)
    return flat(result.values, request.batched), result.output


def request_of(subject: Subject, explained: Explained) -> Request:
    """The request that gave the maps of the untouched model."""
    return Request(subject.model, subject.feeds, explained.wanted, explained.target, subject.seed, silent)


def score_of(explained: Explained, model: Model, feeds: Mapping[str, Array]) -> Array:
    """S per item, from a forward pass of a model without any method: float64 [item]."""
    value = value_of(model, feeds, explained.target.output)
    return explained.target.value(value, model.batched(feeds) and explained.target.seed.ndim > 0)


def silent(_done: int, _total: int, _what: str) -> None:
    """A progress that nobody listens to: a check reports its own."""
