"""What the Shapley family shares: the game among features that vary, sums over them, and games whose values are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import comb

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param
from explainsvc.coalitions import Game, background_rows
from explainsvc.errors import MethodNotApplicable
from explainsvc.features import Partition, partition
from explainsvc.method import Request, Result
from explainsvc.variations import items_are_separable, target_values


@dataclass(frozen=True)
class GameParams:
    """What the players are, and what takes the place of absent ones."""

    background: Any = param(None, "value", "rows that stand for absent features: [rows, *item shape] or {input: such rows}; "
                            "none: the one row that `baseline` gives")  # fmt: skip
    baseline: Any = param(0.0, "value", "absent without background: a number, an array, zero, mean, blur, or {input: of these}")
    feature_mask: Any = param(
        None, "value", "element, pixel, column, token, superpixel, an array of numbers, or {input: of these}"
    )
    batch_size: int = param(32, "int", "items per run", low=1)


@dataclass(frozen=True)
class ElementParams(GameParams):
    """The game of methods in closed form, to which many features cost nothing: single elements unless said otherwise."""

    feature_mask: Any = param(None, "value", "element (default), pixel, column, token, superpixel, an array, or {input: such}")


@dataclass(frozen=True)
class Play:
    """The game among the features that differ from the background in some item: all others are dummies, worth 0.

    Attributes:
        game: Among all features.
    """

    game: Game

    @cached_property
    def players(self) -> Array:
        """Numbers of the features that vary, ascending, int [m]."""
        feeds, vary = self.game.request.feeds, self.game.nobody
        for name, mask in self.game.features.masks.items():
            for row in self.game.rows:
                vary[mask[feeds[name] != row[name]]] = True
        return np.flatnonzero(vary)

    @property
    def count(self) -> int:
        """Number of players, m."""
        return len(self.players)

    @cached_property
    def empty(self) -> Array:
        """v(∅), float64 [items]."""
        return next(self.values_among_all(iter([self.game.nobody])))

    @cached_property
    def whole(self) -> Array:
        """v of all players, which is S(x)."""
        return target_values(self.game.request)

    @property
    def gap(self) -> Array:
        """S(x) − v(∅): what the players share."""
        return self.whole - self.empty

    def values(self, coalitions: Iterator[Array]) -> Iterator[Array]:
        """v of coalitions of players (bool [m]), in order, float64 [items]."""
        return self.values_among_all(map(self._among_all, coalitions))

    def values_among_all(self, coalitions: Iterator[Array]) -> Iterator[Array]:
        """v of coalitions of all features (bool [M]), in order, float64 [items].

        Raises:
            MethodNotApplicable: The target is NaN or infinite somewhere.
        """
        for value in self.game.values(coalitions):
            # the sum, which is not finite where an element is not, is the faster look
            if not math.isfinite(value.sum()) and not np.isfinite(value).all():
                raise MethodNotApplicable(
                    "the target is not finite where features are absent", expected="a model that is finite on such mixtures",
                    to_do="Choose another baseline or background",
                )  # fmt: skip
            yield value

    def _among_all(self, present: Array) -> Array:
        if self.count == self.game.features.count:
            return present
        coalition = self.game.nobody
        coalition[self.players] = present
        return coalition

    def result(self, phi: Array, parameters: dict[str, Any], caveats: tuple[str, ...] = ()) -> Result:
        """Shapley values of the players [items, m] as a method's result."""
        everybody = np.zeros((len(phi), self.game.features.count))
        everybody[:, self.players] = phi
        return shared_out(self.game.request, self.game.features, everybody, self.empty, self.whole, parameters, caveats)


def play(request: Request, p: GameParams) -> Play:
    """The game that a method's parameters describe."""
    default = "element" if isinstance(p, ElementParams) else None
    features = partition(default if p.feature_mask is None else p.feature_mask, request)
    return Play(Game(request, features, background_rows(p.background, p.baseline, request), p.batch_size))


def game_per_item(game: Game) -> list[Game]:
    """One game an item, where items do not share inputs nor mix; else the game as it is."""
    request = game.request
    whole = not all(request.has_items(name) for name in request.wanted) or len(request.target.seed) < 2
    if whole or not items_are_separable(request):
        return [game]
    return [_of_item(game, slice(i, i + 1)) for i in range(len(request.target.seed))]


def _of_item(game: Game, item: slice) -> Game:
    request, count = game.request, len(game.request.target.seed)
    feeds = {n: a[item] if a.ndim and len(a) == count else a for n, a in request.feeds.items()}
    masks = {n: mask[item] for n, mask in game.features.masks.items()}
    rows = [{n: a[item] for n, a in row.items()} for row in game.rows]
    alone = request.on(feeds, seed=request.target.seed[item])
    return Game(alone, Partition(masks, game.features.count), rows, game.batch_size)


def shared_out(
    request: Request, features: Partition, phi: Array, empty: Array, whole: Array, parameters: dict[str, Any],
    caveats: tuple[str, ...] = (),
) -> Result:  # fmt: skip
    """Values of features [items, M] shown by the elements; the residual is Σ over features − (S(x) − v(∅)).

    One residual over all items where an explained input is shared by them, as in ``Request.excess``.
    """
    residual = phi.sum(axis=1) - (whole - empty)
    if not all(request.has_items(name) for name in request.wanted):
        residual = residual.sum(keepdims=True)
    caveats = (*caveats, *_shared_elements(features))
    return Result(features.spread(phi, request), empty, residual, caveats, {"features": features.count, **parameters})


def _shared_elements(features: Partition) -> tuple[str, ...]:
    """A caveat where summing elements would count a feature more than once."""
    elements = sum(mask[0].size if mask.ndim else 1 for mask in features.masks.values())
    grouped = any(np.bincount(mask[0].reshape(-1)).max(initial=0) > 1 for mask in features.masks.values() if mask.ndim)
    grouped |= elements > features.count
    return ("every element shows the value of its whole feature: sums go over features, not elements",) if grouped else ()


def standard_error_caveat(error: Array, phi: Array) -> tuple[str, ...]:
    """Said where the largest standard error (any shape) is over a tenth of the largest |φ|."""
    worst, largest = float(error.max(initial=0)), float(np.abs(phi).max(initial=0))
    if worst <= 0.1 * largest:
        return ()
    return (f"the standard error is up to {worst:.3g} where the largest |φ| is {largest:.3g}: more samples are needed",)


def carrier_values(a: Array, b: Array) -> tuple[Array, Array]:
    """Shapley values in the game 1[A ⊆ T and B ∩ T = ∅] of |A| = a, |B| = b: of each of A, and of each of B.

    (a−1)! b! / (a+b)! and −a! (b−1)! / (a+b)!; Lundberg et al. 2020, the weights of interventional TreeSHAP.
    """
    ways = comb(a + b, a)
    return 1 / (np.maximum(a, 1) * ways), -1 / (np.maximum(b, 1) * ways)


def max_shapley(x: Array, absent: Array) -> Array:
    """Exact Shapley values of v(T) = max over i of (x_i if i ∈ T else absent_i), in O(M log M).

    max = m₀ + ∫ 1[max ≥ t] dt above m₀ = max_i min(x_i, absent_i), below which some element always is. At a level t the
    game is 1 − 1[no i with x_i ≥ t > absent_i is in T, all i with absent_i ≥ t > x_i are]: a carrier game, whose values depend
    on the two numbers of such i only.

    Args:
        x: Present values [M].
        absent: Absent values [M].
    """
    low, high = np.minimum(x, absent), np.maximum(x, absent)
    always = low.max()
    levels = np.unique(np.concatenate([[always], x[x > always], absent[absent > always]]))
    heights, tops = np.diff(levels), levels[1:]
    rising, falling = x > absent, absent > x
    a, b = (_spanning(low[up], high[up], tops) for up in (rising, falling))
    for_b, for_a = carrier_values(b, a)  # A must be absent and B present
    gained = [np.concatenate([[0.0], np.cumsum(heights * -weight)]) for weight in (for_a, for_b)]
    reach = [np.searchsorted(tops, end, side="right") for end in (low, high)]
    return np.where(rising, gained[0][reach[1]] - gained[0][reach[0]], 0) + np.where(
        falling, gained[1][reach[1]] - gained[1][reach[0]], 0
    )


def _spanning(low: Array, high: Array, levels: Array) -> Array:
    """How many intervals (low, high] hold each level."""
    return np.searchsorted(np.sort(low), levels, side="left") - np.searchsorted(np.sort(high), levels, side="left")
