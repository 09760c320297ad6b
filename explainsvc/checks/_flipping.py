"""Flipping: features are replaced one after the other, in the order of an explanation and in a random one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.checks._features import Features, by_item_count
from explainsvc.checks._substitutes import Substitute
from explainsvc.method import Request
from explainsvc.variations import per_variation, split_array, target_values
from explainsvc.weights import seed_sequence

MORF, LERF, RANDOM = "morf", "lerf", "random"
MOST_ROWS = 256
"""Rows of a forward: more do not make a small network faster, and their activations leave the processor's caches."""
TIES = (
    "Equal values are ordered by seeded random numbers, the same that make the random order: a map without contrast is the "
    "random order."
)


@dataclass(frozen=True)
class Walk:
    """A walk from the untouched input to the replaced one, or back.

    Attributes:
        request: What is explained, on the untouched inputs.
        features: What is replaced together.
        substitutes: Per explained input, what takes the place.
        counts: Features replaced at each step, rising; the first is 0.
        read: What is asked of the model: a request → float64 [row] or [row, measure].
        inserting: The walk starts at the replaced input and puts features back.
    """

    request: Request
    features: Features
    substitutes: Mapping[str, Substitute]
    counts: Array
    read: Callable[[Request], Array] = field(default=target_values)
    inserting: bool = False

    @property
    def shares(self) -> Array:
        """The share of the features that is replaced (put back, where inserting) at each step."""
        return np.asarray(self.counts / self.features.count)

    def of(self, group: slice) -> Walk:
        """The walk of some of the items."""
        parts = {name: substitute.of(group) for name, substitute in self.substitutes.items()}
        return replace(self, request=maps.part_of(self.request, group), substitutes=parts)


def request_of(subject: Subject, explained: Explained) -> Request:
    """What a method explained: the same inputs and target."""
    return Request(subject.model, subject.feeds, explained.wanted, explained.target, subject.seed, maps.silent)


def evenly(features: int, steps: int, size: int = 0, share: float = 1.0) -> Array:
    """Features replaced at each step: ``steps`` equal ones up to a share of all, or steps of ``size`` features."""
    last = max(1, round(share * features))
    found = np.arange(0, last + size, size).clip(max=last) if size else np.round(np.linspace(0, last, steps + 1))
    return np.unique(found.astype(np.int64))


def ties(request: Request, features: Features) -> Array:
    """A random order of the features per item, [item, feature]; the same for every method."""
    rng = np.random.default_rng(seed_sequence(request.seed, "flipping/random order"))
    order = np.broadcast_to(np.arange(features.count, dtype=np.int32), (by_item_count(request), features.count))
    return rng.permuted(order, axis=1)


def ranks(scores: Array, shuffled: Array) -> Array:
    """The place of every feature when the largest comes first, ties in the order of ``shuffled``; int32 [item, feature]."""
    order = _stably_sorted(-np.take_along_axis(scores, shuffled, axis=1))
    return _places(np.take_along_axis(shuffled, order, axis=1))


def _places(order: Array) -> Array:
    """The inverse of an order: feature → place, int32 [item, feature]."""
    found = np.empty(order.shape, np.int32)
    places = np.broadcast_to(np.arange(order.shape[1], dtype=np.int32), order.shape)
    np.put_along_axis(found, order, places, axis=1)
    return found


def _stably_sorted(scores: Array) -> Array:
    """The argsort that keeps ties in order; only where there are some it takes the sort that does, three times as slow."""
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, axis=1)
    tied = ~(ascending[:, 1:] > ascending[:, :-1]).all(axis=1)  # or NaN
    order[tied] = np.argsort(scores[tied], axis=1, kind="stable")
    return order


def orders(scores: Array, shuffled: Array, names: tuple[str, ...]) -> dict[str, Array]:
    """The ranks of the orders named: morf (largest, signed, first), lerf (smallest first), random."""
    made = {
        MORF: lambda: ranks(scores, shuffled),
        LERF: lambda: ranks(-scores, shuffled),
        RANDOM: lambda: _places(shuffled),  # as if all scores were tied
    }
    return {name: made[name]() for name in names}


def curves(walk: Walk, by_order: Mapping[str, Array]) -> dict[str, Array]:
    """What the model says along each order: order → float64 [step, item] (or [step, item, measure])."""
    groups = maps.groups(walk.request.model, walk.request.feeds)
    parts = [_curves(walk.of(group), {order: rank[group] for order, rank in by_order.items()}) for group in groups]
    return {order: np.concatenate([part[order] for part in parts], axis=1) for order in by_order}


def _curves(walk: Walk, by_order: Mapping[str, Array]) -> dict[str, Array]:
    """All orders in one stream of forwards; they share their start."""
    stream = values_of(walk.request, _flipped(walk, by_order), walk.read)
    start, later = next(stream), len(walk.counts) - 1
    return {order: np.stack([start, *(next(stream) for _ in range(later))]) for order in by_order}


def _flipped(walk: Walk, by_order: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for number, rank in enumerate(by_order.values()):
        place = walk.features.spread(rank)
        for count in walk.counts[1 if number else 0 :]:
            gone = {name: (place[name] < count) != walk.inserting for name in place}
            yield put(walk.request, walk.substitutes, gone)


def put(request: Request, others: Mapping[str, Substitute], gone: Mapping[str, Array]) -> dict[str, Array]:
    """The explained inputs with the elements replaced that are ``gone`` (input → bool [item, element])."""
    return {name: other.put(gone[name]).reshape(request.feeds[name].shape) for name, other in others.items()}


def values_of(
    request: Request, variations: Iterator[dict[str, Array]], read: Callable[[Request], Array] = target_values
) -> Iterator[Array]:
    """What the model says of every variation of the inputs, by plain forwards on as many rows as fit: float64 [item, …]."""
    elements = max(1, sum(a.size for a in request.feeds.values()) // by_item_count(request))
    rows = max(1, min(MOST_ROWS, maps.GROUP_ELEMENTS // elements))
    return per_variation(request, variations, read, split_array, rows)


def same_target(request: Request) -> Hashable:
    """Equal for methods that explain the same value of the same inputs: they share their random order."""
    return request.target.output, request.target.seed.tobytes(), request.wanted


def with_random(walk: Walk, scores: Array, names: tuple[str, ...], known: dict[Hashable, Array]) -> dict[str, Array]:
    """The curves of the orders named and of the random one, which is walked once for all methods with the same target.

    It is walked by itself, so that its numbers are the same whichever method it is walked for.
    """
    key, shuffled = same_target(walk.request), ties(walk.request, walk.features)
    if key not in known:
        known |= {key: curves(walk, orders(scores, shuffled, (RANDOM,)))[RANDOM]}
    return curves(walk, orders(scores, shuffled, names)) | {RANDOM: known[key]}
