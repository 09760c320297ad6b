"""partition_shap: Owen values: Shapley values where features join as groups of a hierarchy, halves of halves.

Computes: A group's worth in a context splits into halves a, b: a gets ½ (v(a) − v(∅)) + ½ (v(a∪b) − v(b)), so does b; and so on.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Nothing of the model: any model that onnxruntime runs, trees included.
Cost: `samples` forwards per row of background data and item, fewer where the hierarchy ends; exact after about M² of them.
Properties: Completeness exactly, dummy; symmetry only between features that the hierarchy treats alike. Deterministic.
Limits: Depends on the hierarchy. Groups that `samples` does not reach show one value, shared equally by their features.
Source: Owen 1977, doi:10.1007/978-3-642-45494-3_7; Lundberg's PartitionExplainer in the package shap.
Differs: As shap, groups of largest gain first, but channels of a pixel stay together. Of an odd side the first half is smaller
here, larger in shap (which numbers its pixels from the end).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.coalitions import Game
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.features import channel_axis
from explainsvc.method import Method, Request, Result
from explainsvc.methods._shapley import GameParams, Play, game_per_item, play, shared_out


@dataclass(frozen=True)
class Params(GameParams):
    """The game, the hierarchy, and the budget."""

    feature_mask: Any = param(
        None,
        "value",
        "features: element, pixel (of images by default), column, token, superpixel, an array, or {input: of these}",
    )
    hierarchy: Any = param(
        None, "array", "pairs of groups [M−1, ≥2] as SciPy's linkage, numbers from M being earlier rows; "
        "none: rectangles halved along the longer side for images, else halves of the features in order",
    )  # fmt: skip
    samples: int = param(500, "int", "most coalitions per item, v(∅) and v(all) among them", low=2)


@dataclass(frozen=True)
class Group:
    """A group whose worth in one context is known: features that join those already there.

    Attributes:
        members: Numbers of its features.
        context: Who is there before, bool [M].
        before: v of the context.
        after: v of the context and the group.
        weight: Share of such contexts.
        row: The group's row of the given hierarchy, plus M; or −1.
    """

    members: Array
    context: Array
    before: Array
    after: Array
    weight: float
    row: int

    @property
    def gain(self) -> Array:
        """What it is worth here, by its weight."""
        return np.asarray(self.weight * (self.after - self.before))


def run(request: Request, p: Params) -> Result:
    """Item by item, since each has groups of its own that are worth a closer look."""
    whole = play(request, replace(p, feature_mask=partition_spec(request, p.feature_mask)))
    games = game_per_item(whole.game)
    owen, shared, used = [], 0, 0
    for k, game in enumerate(games):
        values, unsplit, evaluations = owen_values(Play(game), p)
        owen.append(values)
        shared, used = shared + unsplit, max(used, evaluations)
        request.progress(k + 1, len(games), "partition_shap")
    ended = (f"{shared} groups were not split within samples={p.samples}: their features share one value",) if shared else ()
    return shared_out(
        request, whole.game.features, np.concatenate(owen), whole.empty, whole.whole, {"samples": used}, ended
    )  # fmt: skip


def partition_spec(request: Request, given: Any) -> Any:
    """The user's features, or pixels of images: rectangles are groups of them."""
    if given is not None:
        return given
    return {n: "pixel" if channel_axis(request.item_shape(n)) is not None else None for n in request.wanted}


def owen_values(game: Play, p: Params) -> tuple[Array, int, int]:
    """φ [items, M], the number of groups that the budget left whole, and the evaluations used."""
    tree = Hierarchy(game, p.hierarchy)
    phi = np.zeros((len(game.whole), game.game.features.count))
    order, used = count(), 2
    root = Group(np.arange(game.game.features.count), game.game.nobody, game.empty, game.whole, 1.0, tree.root)
    queue = [(0.0, next(order), root)]
    while queue and used + 2 <= p.samples:
        split: list[tuple[Group, Group, Group]] = []
        while queue and 2 * len(split) < max(p.batch_size, 2) and used + 2 * len(split) + 2 <= p.samples:
            group = heapq.heappop(queue)[2]
            if len(tree.vary(group.members)) > 1:
                split.append((group, *tree.halves(group)))
            else:
                phi[:, tree.vary(group.members)] += group.gain[:, None]
        for part in _valued(game, split):
            heapq.heappush(queue, (-float(np.abs(part.gain).max()), next(order), part))
        used += 2 * len(split)
    unsplit = set()
    for _, _, group in queue:  # the budget is spent
        varying = tree.vary(group.members)
        phi[:, varying] += group.gain[:, None] / max(len(varying), 1)
        unsplit |= {(int(varying[0]), len(varying))} if len(varying) > 1 else set()
    return phi, len(unsplit), used


def _valued(game: Play, split: list[tuple[Group, Group, Group]]) -> Iterator[Group]:
    """The halves of groups, each first and second, once their values are known."""
    joined = [_with(whole.context, half.members) for whole, a, b in split for half in (a, b)]
    values = game.values_among_all(iter(joined))
    for k, (whole, a, b) in enumerate(split):
        first, second = (next(values) for _ in range(2))
        for half, alone, others, context in ((a, first, second, joined[2 * k + 1]), (b, second, first, joined[2 * k])):
            yield replace(half, before=whole.before, after=alone)
            yield replace(half, context=context, before=others, after=whole.after)


def _with(context: Array, members: Array) -> Array:
    joined = context.copy()
    joined[members] = True
    return joined


class Hierarchy:
    """How groups are halved: as the user says, or by where features lie."""

    def __init__(self, game: Play, given: Any) -> None:
        features = game.game.features.count
        self._varies = game.game.nobody
        self._varies[game.players] = True
        self._given = None if given is None else _checked(np.asarray(given), features)
        self._members: list[Array] = [np.array([i]) for i in range(features)]
        for a, b in [] if self._given is None else self._given:
            self._members.append(np.concatenate([self._members[a], self._members[b]]))
        self._positions = positions(game.game)
        self.root = -1 if self._given is None else len(self._members) - 1

    def vary(self, members: Array) -> Array:
        """Those of a group that differ from the background; the others are worth nothing."""
        return np.asarray(members[self._varies[members]])

    def halves(self, group: Group) -> tuple[Group, Group]:
        """The two halves of a group, each with half of its weight, still in the group's context.

        Down to the first division that has features that vary on both sides.
        """
        while True:
            a, b = (replace(group, members=m, row=r, weight=group.weight / 2) for m, r in self._divided(group))
            if len(self.vary(a.members)) and len(self.vary(b.members)):
                return a, b
            side = a if len(self.vary(a.members)) else b
            group = replace(group, members=side.members, row=side.row)

    def _divided(self, group: Group) -> list[tuple[Array, int]]:
        """Members and row of the two halves."""
        if self._given is not None:
            return [(self._members[row], row) for row in self._given[group.row - len(self._varies)]]
        places = self._positions[group.members]
        low, high = places.min(axis=0), places.max(axis=0)
        axis = int(np.argmax(high - low))  # across the longer side of the box around it
        first = places[:, axis] < (low[axis] + high[axis]) / 2
        if not first.any():  # all in one place: in order
            first = np.arange(len(places)) < len(places) // 2
        return [(group.members[first], -1), (group.members[~first], -1)]


def _checked(linkage: Array, features: int) -> list[tuple[int, int]]:
    """The pairs of a linkage matrix: every group is part of one later group only."""
    if linkage.ndim != 2 or linkage.shape[0] != features - 1 or linkage.shape[1] < 2:
        raise _bad(f"has shape {list(linkage.shape)}, expected [{features - 1}, 2] for {features} features")
    pairs = linkage[:, :2].astype(int)
    later = any(max(pair) >= features + k for k, pair in enumerate(pairs))
    if later or sorted(pairs.reshape(-1)) != list(range(2 * features - 2)):
        raise _bad("is no binary tree: every number below that of its own row must come once")
    return [(int(a), int(b)) for a, b in pairs]


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the hierarchy is not valid", violations=[Violation("parameters.hierarchy", description)])


def positions(game: Game) -> Array:
    """Where each feature lies [M, axes]: the centre of its elements in a single image, else its number."""
    names, count_ = game.request.wanted, game.features.count
    mask = game.features.masks[names[0]]
    item = mask[0] if game.request.has_items(names[0]) else mask
    channel = channel_axis(item.shape)
    if len(names) > 1 or channel is None or not (mask == item).all():
        return np.arange(count_)[:, None]
    pixels = np.moveaxis(np.indices(item.shape), 0, -1)[..., [a for a in range(3) if a != channel]].reshape(-1, 2)
    sizes = np.maximum(np.bincount(item.reshape(-1), minlength=count_), 1)
    return np.stack([np.bincount(item.reshape(-1), pixels[:, a], count_) / sizes for a in range(2)], axis=1)


CLAIMS = exactly("completeness", "dummy", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("partition_shap", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="perturbation"
)
