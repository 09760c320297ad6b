"""cgi: Competitive gradient × input: an element speaks for a class only where it speaks for no other class more.

Computes: h_y = x ⊙ ∂S_y/∂x for every class y; of h_c the elements > 0 that are the maximum over the classes and those < 0 that
  are the minimum are kept, all others are 0. For a general functional Σ_y s_y S_y: Σ_y s_y times the map of y.
Output: Signed, the input's shape, in units of S.
Needs: A differentiable path of float values from the input to the target; an axis of classes (the last one longer than 1).
Cost: One forward and backward pass a class, stacked in batches; `classes` limits their number.
Properties: Winner takes all: an element is positive for one class and negative for one class only (ties apart); passes the sanity
  checks of Adebayo et al. 2018 where plain gradient × input does not.
Limits: With one class nothing competes. With `classes` only those of the highest values compete, and those of the target.
Source: Gupta, Arora 2019, arXiv:1905.12152, section 3 (competition among labels).
Differs: Follows the paper's rule; the public ports compare absolute or summed maps. Contrasts and seeds by linearity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.engine import gradients
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Method, Request, Result
from explainsvc.methods._path import typed
from explainsvc.variations import split_values, stack_size

Rival = tuple[Array, Array]
"""The seed of one class, and per item the weight of that class in the target."""


@dataclass(frozen=True)
class Params:
    """Who competes."""

    classes: int = param(0, "int", "how many classes compete, those of the highest values first; 0: all", low=0)
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Sums over the positions that the target weighs (one, for a class of a classifier)."""
    _require_own_items(request)
    fields = list(_fields(request, p.classes))
    count, done = sum(len(field) for field in fields), 0
    total = {n: np.zeros(request.feeds[n].shape) for n in request.wanted}
    for field in fields:
        contests = {n: Contest(total[n].shape) for n in total}
        for (_, weight), h in zip(field, _input_times_gradient(request, field, p.batch_size), strict=True):
            done += 1
            request.progress(done, count, "cgi")
            for name, contest in contests.items():
                contest.enter(h[name], weight)
        total = {n: total[n] + contests[n].result() for n in total}
    alone = ("the target has one class: nothing competes",) if len(fields[0]) == 1 else ()
    return Result(typed(total, request), caveats=alone)


def _require_own_items(request: Request) -> None:
    for name in request.wanted:
        if request.batched and len(request.target.seed) > 1 and not request.has_items(name):
            raise MethodNotApplicable(
                f'classes of different items would compete for "{name}", which the items share', where=f'input "{name}"',
                expected="one item, or inputs of which every item has its own", to_do="Explain one item at a time",
            )  # fmt: skip


def _fields(request: Request, classes: int) -> Iterator[list[Rival]]:
    """The competitors at every position that the target weighs."""
    seed, output = request.target.seed, request.model.value_of(request.feeds, request.target.output)
    places = by_class(np.arange(seed.size).reshape(seed.shape), request.batched)
    weights, scores = seed.reshape(-1)[places], output.reshape(-1)[places]
    for i in np.flatnonzero((weights != 0).any(axis=(0, 2))):
        order = competitors(weights[:, i], scores[:, i], classes)
        yield [_rival(seed, np.take_along_axis(places[:, i], order[:, [rank]], axis=1)) for rank in range(order.shape[1])]


def by_class(array: Array, batched: bool) -> Array:
    """An array of the output's shape as [items, positions, classes]: classes are the last axis longer than 1."""
    items = array if batched else array[None]
    long = [axis for axis in range(1, items.ndim) if items.shape[axis] > 1]
    last = np.moveaxis(items, long[-1], -1) if long else items[..., None]
    return last.reshape(len(items), -1, last.shape[-1])


def competitors(weights: Array, scores: Array, limit: int) -> Array:
    """Per item the classes that compete, int [items, n]: those with a weight, then by falling score; 0: all of them."""
    order = np.lexsort((-scores, weights == 0), axis=-1)
    return order[:, : max(limit, int((weights != 0).sum(axis=1).max()))] if limit else order


def _rival(seed: Array, place: Array) -> Rival:
    """The unit seed of one class per item, at its place in the flattened seed; and its weight in the target."""
    unit = np.zeros(seed.size, seed.dtype)
    unit[place] = 1
    return unit.reshape(seed.shape), seed.reshape(-1)[place[:, 0]]


def _input_times_gradient(request: Request, field: Iterable[Rival], batch_size: int) -> Iterator[dict[str, Array]]:
    """h_y = x ⊙ ∂S_y/∂x for every competitor, float64; several of them stacked where the model allows it."""
    size, seeds = stack_size(request, batch_size), iter([seed for seed, _ in field])
    while group := list(islice(seeds, size)):
        feeds = request.feeds if len(group) == 1 else {n: np.concatenate([x] * len(group)) for n, x in request.feeds.items()}
        slopes = gradients(request.on(feeds, seed=np.concatenate(group) if len(group) > 1 else group[0]))
        for slope in split_values(slopes, len(group)):
            yield {n: request.feeds[n].astype(np.float64) * slope[n] for n in request.wanted}


class Contest:
    """Per element the highest h_y > 0 and the lowest h_y < 0 so far, and the summed weights of the classes that have them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._above = self._below = (np.zeros(shape), np.zeros(shape))

    def enter(self, h: Array, weight: Array) -> None:
        """One more class, with its weight in every item's target."""
        w = weight.astype(np.float64).reshape(-1, *[1] * (h.ndim - 1)) if h.ndim > 0 else weight[0]
        self._above = _winner(*self._above, h, w)
        self._below = _winner(*self._below, -h, w)

    def result(self) -> Array:
        """The winners times their weights; 0 where no class is above (below) zero."""
        return np.asarray(self._above[0] * self._above[1] - self._below[0] * self._below[1])


def _winner(best: Array, weight: Array, h: Array, w: Array) -> tuple[Array, Array]:
    """The larger of best and h with its weight; weights add up where both are equal."""
    return np.maximum(best, h), np.where(h > best, w, np.where(h == best, weight + w, weight))


CLAIMS = exactly("dummy", "implementation_invariance")
METHOD = Method(read_card("cgi", __doc__, Params, CLAIMS), Params, run=run, from_logit=True, family="sampling")
