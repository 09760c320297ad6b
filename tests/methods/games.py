"""Slow truths for the Shapley family: every permutation, every coalition, the model asked one mixture at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations, product
from math import factorial

import numpy as np

import explainsvc
from tests.models import Array

Value = Callable[[frozenset[int]], float]


def by_permutations(v: Value, players: int) -> Array:
    """What each player adds to those before it, averaged over all orders."""
    phi = np.zeros(players)
    for order in permutations(range(players)):
        for k, player in enumerate(order):
            phi[player] += v(frozenset(order[: k + 1])) - v(frozenset(order[:k]))
    return phi / factorial(players)


def by_coalitions(v: Value, players: int) -> Array:
    """Σ over T without i of |T|!(M−|T|−1)!/M! (v(T∪i) − v(T))."""
    phi = np.zeros(players)
    table = {}
    for bits in product([False, True], repeat=players):
        members = frozenset(np.flatnonzero(bits).tolist())
        table[members] = v(members)
    for i in range(players):
        for members, value in table.items():
            if i not in members:
                weight = factorial(len(members)) * factorial(players - len(members) - 1) / factorial(players)
                phi[i] += weight * (table[members | {i}] - value)
    return phi


def game_of(
    model: explainsvc.Model, x: Mapping[str, Array], rows: Sequence[Mapping[str, Array]], masks: Mapping[str, Array], s: Callable
) -> Value:
    """v(T) of one item (batch axis 1): s(outputs), averaged over rows, of the model on the mixture.

    Args:
        model: Asked through ``predict``.
        x: Its inputs.
        rows: Background data, each with the shapes of the masks.
        masks: Input → number of every element's feature.
        s: Outputs → number.
    """

    def v(members: frozenset[int]) -> float:
        inside = {n: np.isin(mask, list(members)) for n, mask in masks.items()}
        mixed = [dict(x) | {n: np.where(inside[n], x[n], row[n]).astype(x[n].dtype) for n in masks} for row in rows]
        return float(np.mean([s(model.predict(m)) for m in mixed]))

    return v
