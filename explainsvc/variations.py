"""Many variations of one input: stacked along the batch axis where the model allows it, else one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.graph.probe import deviation
from explainsvc.memory import remember
from explainsvc.method import Request

T = TypeVar("T")
Feeds = Mapping[str, Array]
SEPARABLE_TOLERANCE = 1e-3
"""Relative difference between an item computed alone and in a batch; kernels differ by rounding only."""


def stack_size(request: Request, batch_size: int) -> int:
    """How many variations of the request's items fit in one run of ``batch_size``; 1 where items may not be mixed."""
    model, items = request.model, _items(request.feeds)
    if not (model.stackable and request.batched and items > 0) or batch_size < 2 * items:
        return 1
    return batch_size // items if items_are_separable(request) else 1


def _items(feeds: Feeds) -> int:
    return min((len(a) if a.ndim else 0) for a in feeds.values())


def items_are_separable(request: Request) -> bool:
    """Whether an item's result is the same alone and in a batch (axis 0 might count time steps instead)."""
    pair = {name: np.concatenate([a[:1], a[-1:] if len(a) > 1 else _shaken(a[:1])]) for name, a in request.feeds.items()}
    key = (request.target.output, *((name, a.shape, a.dtype.str, _digest(a)) for name, a in sorted(pair.items())))
    known = request.model.memory.separable
    return known[key] if key in known else remember(known, key, _separable(request, pair))


def _digest(array: Array) -> bytes:
    data = np.ascontiguousarray(array)
    return hashlib.sha256(repr(data.tolist()).encode() if data.dtype.hasobject else data.data).digest()


def _separable(request: Request, pair: Feeds) -> bool:
    value = request.target.output
    together = request.model.value_of(pair, value)
    alone = [request.model.value_of({n: a[i : i + 1] for n, a in pair.items()}, value) for i in range(2)]
    if any(a.shape[1:] != together.shape[1:] or len(a) != 1 for a in alone) or len(together) != 2:
        return False
    return deviation({value: np.concatenate(alone)}, {value: together}) <= SEPARABLE_TOLERANCE


def _shaken(array: Array) -> Array:
    """Another item of the same kind: floats reversed, so that mixing items cannot go unnoticed."""
    return array.reshape(-1)[::-1].reshape(array.shape) if array.dtype.kind == "f" else array


def per_variation(
    request: Request,
    variations: Iterator[dict[str, Array]],
    compute: Callable[[Request], T],
    split: Callable[[T, int], Sequence[T]],
    batch_size: int,
) -> Iterator[T]:
    """``compute`` of every variation of the request's feeds, in order.

    Args:
        request: The request that is varied; its target's seed is repeated with the items.
        variations: Feeds for the wanted inputs; all others stay as they are.
        compute: Works on a request of several stacked variations.
        split: Takes the stacked result apart into that of each variation.
        batch_size: Items per run.
    """
    size = stack_size(request, batch_size)
    while group := list(islice(variations, size)):
        yield from split(compute(_stacked(request, group)), len(group))


def _stacked(request: Request, group: Sequence[dict[str, Array]]) -> Request:
    if len(group) == 1:
        return request.on(request.feeds | group[0])
    feeds = {}
    for name, array in request.feeds.items():
        feeds[name] = np.concatenate([g.get(name, array) for g in group])
    return request.on(feeds, seed=np.concatenate([request.target.seed] * len(group)))


def split_values(values: dict[str, Array], count: int) -> list[dict[str, Array]]:
    """Attributions of stacked variations, taken apart."""
    if count == 1:
        return [values]
    parts = {name: np.split(array, count) for name, array in values.items()}
    return [{name: parts[name][k] for name in values} for k in range(count)]


def target_values(request: Request) -> Array:
    """S per item of a (stacked) request by a plain forward, float64."""
    known = request.known
    value = request.model.value_of(request.feeds, request.target.output) if known is None else known
    return request.target.value(value, request.batched)


def split_array(array: Array, count: int) -> list[Array]:
    """S of stacked variations, taken apart."""
    return list(np.split(array, count))
