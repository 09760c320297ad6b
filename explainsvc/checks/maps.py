"""Maps of many inputs: explained in groups that fit into memory, flattened to one row per item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explainsvc import engine
from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained
from explainsvc.method import Method, Request, Result
from explainsvc.model import Model

GROUP_ELEMENTS = 2**21
"""Input elements that are explained at a time: 13 pictures of 3×224×224; a backward pass keeps all activations."""


def groups(model: Model, feeds: Mapping[str, Array]) -> list[slice]:
    """Slices along the batch axis; one for all where the model has no batch axis on every input."""
    items = {len(a) if a.ndim else 0 for a in feeds.values()}
    if len(items) != 1 or not (model.stackable and model.batched(feeds)):
        return [slice(None)]
    count = items.pop()
    size = max(1, GROUP_ELEMENTS * count // max(1, sum(a.size for a in feeds.values())))
    frozen = model.frozen_batch or 1
    step = max(frozen, size // frozen * frozen)
    return [slice(start, start + step) for start in range(0, count, step)]


def value_of(model: Model, feeds: Mapping[str, Array], name: str) -> Array:
    """An output or inner value for all items."""
    parts = [model.value_of(_cut(feeds, group), name) for group in groups(model, feeds)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _cut(feeds: Mapping[str, Array], group: slice) -> dict[str, Array]:
    return dict(feeds) if group == slice(None) else {name: array[group] for name, array in feeds.items()}


def attribute(method: Method, params: Any, request: Request) -> Result:
    """The method's result for all items. Controls see all items at once: their numbers must not repeat by group."""
    if method.family == "control":
        return engine.attribute(method, params, request)
    return _joined([engine.attribute(method, params, part) for part in _requests(request)])


def _requests(request: Request) -> Iterator[Request]:
    for group in groups(request.model, request.feeds):
        yield part_of(request, group)


def part_of(request: Request, group: slice) -> Request:
    """The request of some of the items, as :func:`groups` gives them."""
    whole = group == slice(None)
    target = request.target
    index = target.index if whole or target.index is None else target.index[group]
    seed = target.seed if whole else target.seed[group]
    return replace(request, feeds=_cut(request.feeds, group), target=replace(target, seed=seed, index=index))


def _joined(parts: Sequence[Result]) -> Result:
    if len(parts) == 1:
        return parts[0]
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    residuals = [part.residual for part in parts if part.residual is not None]
    residual = np.concatenate(residuals) if residuals else None
    caveats = tuple(dict.fromkeys(caveat for part in parts for caveat in part.caveats))
    return Result(values, None, residual, caveats, parts[0].parameters)


def flat(values: Mapping[str, Array], batched: bool) -> Array:
    """[item, element], the explained inputs side by side."""
    return np.concatenate([v.reshape(len(v) if batched else 1, -1) for v in values.values()], axis=1)


def maps_of(explained: Explained, model: Model, feeds: dict[str, Array], seed: int) -> Array:
    """The same explanation of another model: the same inputs, target and parameters; [item, element]."""
    request = Request(model, feeds, explained.wanted, explained.target, seed, silent)
    return flat(attribute(explained.method, explained.params, request).values, request.batched)


def silent(_done: int, _total: int, _what: str) -> None:
    """A progress that nobody listens to: a check reports its own."""
