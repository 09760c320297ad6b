"""exact_shap: axioms on models that have them by construction; orders by dividends."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

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
