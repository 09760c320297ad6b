"""The axioms that tree_shap claims, on random forests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.axioms import SHAPLEY
from explainsvc.methods import METHODS
from tests import forests
from tests.forests import MODES, Tree, halves, old_attributes, tree
from tests.models import Array

SEEDS = range(3)
COLUMNS = 5
OPPOSITE = dict(zip(MODES, ("BRANCH_GT", "BRANCH_GTE", "BRANCH_LT", "BRANCH_LEQ", "BRANCH_NEQ", "BRANCH_EQ"), strict=True))


def grown(seed: int, columns: int = COLUMNS) -> list[Tree]:
    """Four trees over the first columns, of two outputs."""
    rng = np.random.default_rng(seed)
    return [tree(rng, columns, range(2), depth) for depth in (1, 2, 3, 4)]


def model(trees: Sequence[Tree]) -> explainsvc.Model:
    """x [N, 5] → trees → y [N, 2]."""
    attributes = old_attributes(trees, "target") | {"n_targets": 2}
    return explainsvc.load(forests.model("TreeEnsembleRegressor", attributes, COLUMNS))


def values(trees: Sequence[Tree], seed: int, target: Any = 1, level: bool = False) -> Array:
    """Of two items against three rows; ``level``: the first two columns equal everywhere."""
    x, rows = halves(2, COLUMNS, seed=seed), halves(3, COLUMNS, seed=seed + 100)
    if level:
        x[:, 1], rows[:, 1] = x[:, 0], rows[:, 0]
    found = model(trees).explain({"x": x}, "tree_shap", target, background=rows).values["x"]
    assert np.abs(found).max() > 1e-3
    return found


def renamed(one: Tree) -> Tree:
    """The first two columns exchanged."""
    names = {0: 1, 1: 0}
    return Tree([None if n is None else (names.get(n[0], n[0]), *n[1:]) for n in one.nodes], one.leaves)


def turned(one: Tree) -> Tree:
    """Every question asked the other way round, its answers exchanged."""
    nodes = [None if n is None else (n[0], OPPOSITE[n[1]], n[2], n[4], n[3], 1 - n[5]) for n in one.nodes]
    return Tree(nodes, one.leaves)


def test_it_claims_what_is_tested_here() -> None:
    """A test of this file for each."""
    assert METHODS["tree_shap"].card.axioms == SHAPLEY


@pytest.mark.parametrize("seed", SEEDS)
def test_completeness(seed: int) -> None:
    """Σ values = S(x) − mean S(rows) by onnxruntime."""
    forest = model(grown(seed))
    at_x, at_rows = (forest.predict({"x": halves(n, COLUMNS, seed=s)})["y"][:, 1] for n, s in ((2, seed), (3, seed + 100)))
    np.testing.assert_allclose(values(grown(seed), seed).sum(axis=1), at_x - at_rows.mean(), atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_dummy(seed: int) -> None:
    """A column that no tree asks for, and one that is asked for with equal answers, get 0."""
    same = Tree([(4, "BRANCH_LEQ", 0.0, 1, 2, 0), None, None], {1: {0: 0.7, 1: 0.3}, 2: {0: 0.7, 1: 0.3}})
    found = values([*grown(seed, COLUMNS - 2), same], seed)
    np.testing.assert_allclose(found[:, 3:], 0, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_symmetry(seed: int) -> None:
    """Trees, and the same with two columns exchanged."""
    trees = grown(seed)
    found = values([*trees, *map(renamed, trees)], seed, level=True)
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_linearity(seed: int) -> None:
    """Of outputs, by the target's seed; and of forests: the values of all trees are the sum of those of each half."""
    trees = grown(seed)
    both = values(trees, seed, {"output": "y", "seed": np.array([[2, -0.75]] * 2, np.float32)})
    np.testing.assert_allclose(both, 2 * values(trees, seed, 0) - 0.75 * values(trees, seed, 1), atol=1e-5)
    np.testing.assert_allclose(values(trees, seed), values(trees[::2], seed) + values(trees[1::2], seed), atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_implementation_invariance(seed: int) -> None:
    """Trees in another order, every question turned around."""
    trees = grown(seed)
    np.testing.assert_allclose(values(trees, seed), values([turned(one) for one in trees[::-1]], seed), atol=1e-5)
