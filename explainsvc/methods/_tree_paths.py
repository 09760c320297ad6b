"""Interventional TreeSHAP: which leaves mixtures of an item and a row come to, and what they owe to features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods._columns import NOBODY
from explainsvc.methods._shapley import carrier_values
from explainsvc.trees import TO_DO, Ensemble

AT_ONCE = 200_000
"""Trees times rows that are gone down together."""
ONE = np.uint64(1)


def item_values(ensemble: Ensemble, players: Array, x: Array, rows: Array, slope: Array) -> Array:
    """Interventional Shapley values of one item: every tree against every row.

    Args:
        ensemble: The trees.
        players: Feature of each column, NOBODY for one that x and the rows have alike, int [columns].
        x: The item [columns].
        rows: Background data [rows, columns].
        slope: Weights of the outputs [outputs].

    Returns:
        φ by feature, float64 [1 + largest of ``players``].
    """
    features = 1 + int(players.max(initial=0))
    slots = slots_of(ensemble, players)
    weights = carrier_values(*np.indices((slots.depth + 1, slots.depth + 1)))
    worth = ensemble.values @ slope
    ours = ensemble.nodes.hold(x[None])[0]
    phi, step = np.zeros(features), max(1, AT_ONCE // len(ensemble.roots))
    for k in range(0, len(rows), step):
        theirs = ensemble.nodes.hold(rows[k : k + step])
        for leaf, a, b in alive(ensemble, slots, ours, theirs):
            size_a, size_b = np.bitwise_count(a), np.bitwise_count(b)
            for side, weight in ((a, weights[0]), (b, weights[1])):
                shares = worth[leaf] * weight[size_a, size_b]
                for slot in range(slots.depth):
                    chosen = np.flatnonzero(side & (ONE << np.uint64(slot)))
                    phi += np.bincount(slots.players[leaf[chosen], slot], shares[chosen], features)
    return phi / len(rows)


@dataclass(frozen=True)
class Slots:
    """Features on the way to each leaf, numbered along it: bits of a set of features on one way.

    Attributes:
        node: Bit of each node's feature on the way to it, uint64 [nodes].
        players: Feature of each number on the way to each leaf, int [leaves, depth].
        depth: Most features on one way.
    """

    node: Array
    players: Array
    depth: int


def slots_of(ensemble: Ensemble, players: Array) -> Slots:
    """Numbers features level by level.

    Raises:
        MethodNotApplicable: More than 64 features on one way.
    """
    owner = players[ensemble.nodes.columns]
    number = np.zeros(len(owner), np.uint64)
    place, way = ensemble.roots, np.zeros((len(ensemble.roots), 0), int)
    ends: list[tuple[Array, Array]] = []
    while len(place):
        ends.append((-1 - place[place < 0], way[place < 0]))
        place, way = place[place >= 0], np.pad(way[place >= 0], ((0, 0), (0, 1)), constant_values=NOBODY)
        known = way == owner[place][:, None]
        slot = np.where(known.any(axis=1), known.argmax(axis=1), (way != NOBODY).sum(axis=1))
        explained = np.flatnonzero(owner[place] != NOBODY)  # the others decide alike for x and for the row
        way[explained, slot[explained]] = owner[place[explained]]
        way = way[:, : int((way != NOBODY).sum(axis=1).max(initial=0))]
        if way.shape[1] > 64:
            raise MethodNotApplicable("a tree asks for more than 64 features on one way", to_do=TO_DO)
        number[place[explained]] = slot[explained]
        place, way = np.concatenate([side[place] for side in ensemble.below]), np.concatenate([way, way])
    depth = max(found.shape[1] for _, found in ends)
    table = np.full((len(ensemble.values), depth), NOBODY)
    for leaf, found in ends:
        table[leaf, : found.shape[1]] = found
    return Slots(ONE << number, table, depth)


def alive(ensemble: Ensemble, slots: Slots, ours: Array, theirs: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Leaves that some mixture of x and a row comes to: leaf, the bits of A and the bits of B, level by level.

    Down every tree at once for all rows. Where x and the row part, both ways are gone: x's with the feature in A, the row's with
    it in B; a feature that is in one of them stays there.

    Args:
        ensemble: The trees.
        slots: Bits of features.
        ours: Whether each comparison holds for x, bool [nodes].
        theirs: For each row, bool [rows, nodes].
    """
    place: Array
    row: Array
    place, row = np.tile(ensemble.roots, len(theirs)), np.repeat(np.arange(len(theirs)), len(ensemble.roots))
    a: Array = np.zeros(len(place), np.uint64)
    b: Array = a.copy()
    while len(place):
        ends = place < 0
        yield -1 - place[ends], a[ends], b[ends]
        place, row, a, b = place[~ends], row[~ends], a[~ends], b[~ends]
        bit, x_holds, row_holds = slots.node[place], ours[place], theirs[row, place]
        part, in_a, in_b = x_holds != row_holds, (a & bit) != 0, (b & bit) != 0
        of_x, of_row = np.flatnonzero(~in_b), np.flatnonzero(~in_a & (in_b | part))
        joined_a, joined_b = np.where(part, a | bit, a)[of_x], (b | bit)[of_row]
        below = [ensemble.below[holds[way].astype(int), place[way]] for holds, way in ((x_holds, of_x), (row_holds, of_row))]
        row = row[np.concatenate([of_x, of_row])]
        place, a, b = np.concatenate(below), np.concatenate([joined_a, a[of_row]]), np.concatenate([b[of_x], joined_b])
