"""partition_shap: Owen values by the orders that respect the hierarchy; the budget; hierarchies that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter
from tests import models
from tests.methods.games import Value, game_of
from tests.models import Array, numbers

Tree = int | tuple[Any, Any]
HALVES: Tree = ((0, (1, 2)), (3, (4, 5)))
CHAIN: Tree = (((((2, 5), 0), 1), 4), 3)
ROWS = {HALVES: None, CHAIN: [[2, 5], [6, 0], [7, 1], [8, 4], [9, 3]]}


def orders(tree: Tree) -> Iterator[tuple[int, ...]]:
    """Every order in which the members of each group come together."""
    if isinstance(tree, int):
        yield (tree,)
        return
    for a, b in product(orders(tree[0]), orders(tree[1])):
        yield a + b
        yield b + a


def owen(v: Value, tree: Tree, players: int) -> Array:
    """Gains along all orders that respect the hierarchy, averaged (Owen 1977)."""
    phi, ways = np.zeros(players), list(orders(tree))
    for order in ways:
        for k, player in enumerate(order):
            phi[player] += v(frozenset(order[: k + 1])) - v(frozenset(order[:k]))
    return phi / len(ways)


@pytest.mark.parametrize("tree", ROWS, ids=["halves", "chain"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_owen_values(tree: Tree, batch_size: int) -> None:
    """Of two items against three rows, in order and by a given hierarchy."""
    model, x, rows = explainsvc.load(models.mlp()), numbers(2, 6), numbers(3, 6, seed=5)
    options = {} if ROWS[tree] is None else {"hierarchy": ROWS[tree]}
    found = model.explain({"x": x}, "partition_shap", target=1, background=rows, batch_size=batch_size, **options)
    for item, values in zip(x, found.values["x"], strict=True):
        mixed = [{"x": row[None]} for row in rows]
        v = game_of(model, {"x": item[None]}, mixed, {"x": np.arange(6)[None]}, lambda o: o["y"][0, 1])
        np.testing.assert_allclose(values, owen(v, tree, 6), atol=1e-6)
    assert np.abs(found.residual).max() < 1e-12


def test_dummies_do_not_change_the_hierarchy() -> None:
    """Features at the background get 0, and the others what the whole hierarchy gives them."""
    model, x, rows = explainsvc.load(models.mlp()), numbers(1, 6), numbers(3, 6, seed=5)
    rows[:, [0, 4]] = x[:, [0, 4]]
    for tree, given in ROWS.items():
        options = {} if given is None else {"hierarchy": given}
        found = model.explain({"x": x}, "partition_shap", target=1, background=rows, **options).values["x"][0]
        mixed = [{"x": row[None]} for row in rows]
        v = game_of(model, {"x": x}, mixed, {"x": np.arange(6)[None]}, lambda o: o["y"][0, 1])
        np.testing.assert_allclose(found, owen(v, tree, 6), atol=1e-6)
        assert found[0] == found[4] == 0


def test_a_budget_leaves_groups_whole() -> None:
    """Four coalitions split the features once: each half shares what it is worth, and the reader is told."""
    model, x = explainsvc.load(models.mlp()), numbers(1, 6)
    found = model.explain({"x": x}, "partition_shap", target=1, samples=5)
    v = game_of(model, {"x": x}, [{"x": np.zeros((1, 6))}], {"x": np.arange(6)[None]}, lambda o: o["y"][0, 1])
    nobody, left, right, both = (v(frozenset(t)) for t in ((), (0, 1, 2), (3, 4, 5), range(6)))
    expected = np.repeat([(left - nobody + both - right) / 6, (right - nobody + both - left) / 6], 3)
    np.testing.assert_allclose(found.values["x"][0], expected, atol=1e-6)
    assert found.parameters["samples"] == 4
    assert any("2 groups were not split" in c for c in found.caveats)


def test_images_are_halved_along_the_longer_side() -> None:
    """Of a 4×6 picture with budget for one split, the left and the right half show one value each; then top and bottom."""
    text = "g (float[N, 1, 4, 6] x) => (float[N, 1] y) { s = Mul (x, x)  f = Flatten (s)  h = MatMul (f, w)  y = Mul (h, h) }"
    model = explainsvc.load(models.build(text, {"w": models.weights("w", 24, 1)}))
    x = numbers(1, 1, 4, 6)
    once = model.explain({"x": x}, "partition_shap", samples=4).values["x"][0, 0]
    assert len(np.unique(once[:, :3])) == len(np.unique(once[:, 3:])) == 1
    assert once[0, 0] != once[0, 5]
    more = model.explain({"x": x}, "partition_shap", samples=12).values["x"][0, 0]
    assert len(np.unique(more)) == 4
    assert all(
        len(np.unique(more[rows, columns])) == 1 for rows in (slice(2), slice(2, 4)) for columns in (slice(3), slice(3, 6))
    )


def test_items_do_not_see_each_other() -> None:
    """Each item spends its own budget on its own groups: together as alone."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    together = model.explain({"x": x}, "partition_shap", target=1, samples=60).values["x"]
    for item, values in zip(x, together, strict=True):
        alone = model.explain({"x": item[None]}, "partition_shap", target=1, samples=60).values["x"][0]
        np.testing.assert_allclose(values, alone, atol=1e-6)


@pytest.mark.parametrize(
    "hierarchy", [[[0, 1]], [[0, 1], [6, 2], [7, 3], [8, 4], [9, 4]], [[0, 7], [6, 2], [1, 3], [8, 4], [9, 5]]]
)
def test_hierarchies_that_do_not_fit_are_refused(hierarchy: Any) -> None:
    """Too short, a feature twice, a group before it is made."""
    with pytest.raises(InvalidParameter, match="hierarchy"):
        explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, "partition_shap", hierarchy=hierarchy)
