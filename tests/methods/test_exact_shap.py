"""exact_shap: axioms on models that have them by construction; orders by dividends."""

from __future__ import annotations

from itertools import combinations, product
from math import factorial

import numpy as np
import pytest
from scipy.special import comb

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods.exact_shap import coalitions, dividend_weights
from tests import models
from tests.methods.by_hand import quadratic_shapley
from tests.methods.games import game_of
from tests.models import numbers


def test_full_order_has_the_papers_weights() -> None:
    """(|T|−1)!(M−|T|)!/M! for members and −|T|!(M−|T|−1)!/M! for others."""
    for players in range(1, 17):
        inside, outside = dividend_weights(players, players)
        expected = [factorial(t - 1) * factorial(players - t) / factorial(players) for t in range(1, players + 1)]
        np.testing.assert_allclose(inside[1:], expected, rtol=1e-12)
        expected = [-factorial(t) * factorial(players - t - 1) / factorial(players) for t in range(players)]
        np.testing.assert_allclose(outside[:-1], expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_order_counts_the_dividends_up_to_it(order: int) -> None:
    """Möbius dividends computed one by one, each divided among its members."""
    model, x = explainsvc.load(models.mlp()), numbers(1, 6)
    v = game_of(model, {"x": x}, [{"x": np.zeros((1, 6))}], {"x": np.arange(6)[None]}, lambda o: o["y"][0, 2])
    phi = np.zeros(6)
    for size in range(1, order + 1):
        for members in combinations(range(6), size):
            inner = [frozenset(c) for k in range(size + 1) for c in combinations(members, k)]
            dividend = sum((-1) ** (size - len(t)) * v(t) for t in inner)
            phi[list(members)] += dividend / size
    found = model.explain({"x": x}, "exact_shap", target=2, order=order)
    np.testing.assert_allclose(found.values["x"][0], phi, atol=1e-5)
    np.testing.assert_allclose(found.residual, phi.sum() - (found.output_value - found.baseline_value), atol=1e-5)
    assert any("left out" in c for c in found.caveats)


@pytest.mark.parametrize("order", [1, 2, 3, 9])
def test_a_regression_on_small_and_large_coalitions(order: int) -> None:
    """Theorem 2 as dense weighted least squares on coalitions of ≤ k or ≥ M−k features, the last feature eliminated."""
    model, x = explainsvc.load(models.mlp()), numbers(1, 6)
    v = game_of(model, {"x": x}, [{"x": np.zeros((1, 6))}], {"x": np.arange(6)[None]}, lambda o: o["y"][0, 2])
    found = model.explain({"x": x}, "exact_shap", target=2, order=order, by="regression")
    z = np.array([row for row in product([0, 1], repeat=6) if 0 < sum(row) < 6 and min(sum(row), 6 - sum(row)) <= order])
    size = z.sum(axis=1)
    weight = 5 / (comb(6, size) * size * (6 - size))
    gap = v(frozenset(range(6))) - v(frozenset())
    y = np.array([v(frozenset(np.flatnonzero(row).tolist())) for row in z]) - v(frozenset()) - z[:, -1] * gap
    reduced = z[:, :-1] - z[:, -1:]
    phi = np.linalg.solve((reduced.T * weight) @ reduced, (reduced.T * weight) @ y)
    np.testing.assert_allclose(found.values["x"][0], [*phi, gap - phi.sum()], atol=2e-6)
    assert found.parameters["coalitions"] == len(z) + 2
    assert np.abs(found.residual).max() < 1e-9
    assert any("not asked for" in caveat for caveat in found.caveats) == (order < 3)
    if order >= 3:
        np.testing.assert_allclose(found.values["x"], model.explain({"x": x}, "exact_shap", target=2).values["x"], atol=2e-6)


def test_a_regression_is_exact_for_pairs() -> None:
    """Of single features and their complements alone: v(z) − v(1−z) of a game of pairs is linear; the budget counts."""
    x = numbers(2, 4)
    found = explainsvc.load(models.quadratic()).explain({"x": x}, "exact_shap", order=1, by="regression")
    np.testing.assert_allclose(found.values["x"], quadratic_shapley(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(MethodNotApplicable, match="64 features have 87490 coalitions"):
        explainsvc.load(models.cnn()).explain(
            {"x": numbers(1, 2, 8, 8)}, "exact_shap", feature_mask="pixel", order=3, by="regression"
        )


def test_order_two_is_enough_for_pairs() -> None:
    """Σ c x² + 3 x₀x₁ has no interaction of three: φ_i = c_i x_i² + ½ · 3 x₀x₁ for the pair, and nothing is left out."""
    x = numbers(2, 4)
    found = explainsvc.load(models.quadratic()).explain({"x": x}, "exact_shap", order=2)
    np.testing.assert_allclose(found.values["x"], quadratic_shapley(x), rtol=1e-5, atol=1e-6)
    assert not any("left out" in c for c in found.caveats)


def test_dummy_and_symmetry() -> None:
    """A feature that the model ignores gets 0; two that it treats alike, with equal values, get the same."""
    text = "g (float[N, 4] x) => (float[N, 1] y) { h = MatMul (x, w)  r = Tanh (h)  y = MatMul (r, u) }"
    w = models.weights("w", 4, 5)
    w[3], w[1] = 0, w[0]
    model = explainsvc.load(models.build(text, {"w": w, "u": models.weights("u", 5, 1)}))
    x = numbers(1, 4)
    x[0, 1] = x[0, 0]
    phi = model.explain({"x": x}, "exact_shap", background=np.tile(numbers(5, 1, seed=2), (1, 4))).values["x"][0]
    assert phi[3] == 0
    np.testing.assert_allclose(phi[0], phi[1], rtol=1e-5)
    assert abs(phi[0]) > 1e-3


def test_linearity() -> None:
    """φ of 2 S₀ − S₁ is 2 φ of S₀ minus φ of S₁."""
    model, x = explainsvc.load(models.mlp()), numbers(1, 6)
    first, second = (model.explain({"x": x}, "exact_shap", target=k).values["x"] for k in (0, 1))
    both = model.explain({"x": x}, "exact_shap", target={"output": "y", "seed": [[2, -1, 0]]}).values["x"]
    np.testing.assert_allclose(both, 2 * first - second, atol=1e-5)


def test_coalitions_come_once_each() -> None:
    """All of at most the order, small ones first."""
    found = [tuple(c) for c in coalitions(5, 3)]
    assert len(set(found)) == len(found) == 1 + 5 + 10 + 10
    assert [sum(c) for c in found] == sorted(sum(c) for c in found)


def test_many_features_are_refused_with_advice() -> None:
    """2⁶⁴ coalitions are not asked for; order 2 of 64 pixels is."""
    model, x = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8)
    with pytest.raises(MethodNotApplicable, match="kernel_shap"):
        model.explain({"x": x}, "exact_shap", feature_mask="pixel")
    assert model.explain({"x": x}, "exact_shap", feature_mask="pixel", order=2).parameters["coalitions"] == 1 + 64 + 2016
