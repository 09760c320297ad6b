"""Methods that are equal where the literature says so, on random networks; CGI's winner takes all; Max SHAP by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from tests import models
from tests.axioms.networks import items, network
from tests.axioms.violations import off
from tests.methods.games import by_coalitions
from tests.models import Array

STABILIZED = 1e-3
"""Of the largest value: the stabilizer of 1e-6 against sums of a thousandth and more, and float32."""
SEEDS = range(3)


def relevance(kind: str, seed: int, x: Array, method: str, target: Any = 1, **parameters: Any) -> Array:
    """The map of x."""
    return network(kind, seed).explain({"x": x}, method, target, **parameters).values["x"]


def equal(one: Array, other: Array) -> None:
    """To the stabilizer; not both zero."""
    scale = float(np.abs(other).max())
    assert scale > 1e-3
    assert off(one, other, scale) < STABILIZED


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU bare", "convolutional ReLU bare"])
def test_lrp_0_is_gradient_times_input_without_biases(kind: str, seed: int) -> None:
    """Shrikumar et al. 2016, arXiv:1605.01713: ReLU networks, MaxPool and residual sums among them; both sum to S."""
    x = items(kind, seed)
    found = network(kind, seed).explain({"x": x}, "lrp_0", 1)
    equal(found.values["x"], relevance(kind, seed, x, "input_x_gradient"))
    np.testing.assert_allclose(found.values["x"].reshape(2, -1).sum(1), found.output_value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU", "convolutional ReLU"])
def test_with_biases_it_is_where_they_count(kind: str, seed: int) -> None:
    """R_j = c_j z_j with z_j the whole pre-activation, so R_i = a_i Σ_j w_ij c_j: the same map, which sums to less than S.

    Where biases get no share the map is another.
    """
    x = items(kind, seed)
    slope = relevance(kind, seed, x, "input_x_gradient")
    equal(relevance(kind, seed, x, "lrp_0"), slope)
    ignored = network(kind, seed).explain({"x": x}, "lrp_0", 1, bias="ignored")
    assert off(ignored.values["x"], slope, float(np.abs(slope).max())) > 0.01
    gap = slope.reshape(2, -1).sum(axis=1) - ignored.output_value
    assert np.abs(gap).max() > 0.01 * np.abs(ignored.output_value).max()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU", "dense Tanh", "convolutional ReLU"])
def test_gamma_one_is_lrp_0(kind: str, seed: int) -> None:
    """w⁺ + 1·w⁻ = w, and w + 0·w⁺ = w in the other form, whatever the signs of inputs, neurons and biases."""
    x = items(kind, seed)
    zero = relevance(kind, seed, x, "lrp_0")
    equal(relevance(kind, seed, x, "lrp_gamma", gamma=1), zero)
    equal(relevance(kind, seed, x, "lrp_gamma", gamma=0, form="add_positive"), zero)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU", "convolutional chain"])
def test_gamma_zero_is_alpha1_beta0(kind: str, seed: int) -> None:
    """For inputs and an explained value ≥ 0 (Montavon et al. 2019): of three outputs and eight items those that are positive."""
    x = np.abs(items(kind, seed, 8))
    y = network(kind, seed).predict({"x": x})["y"]
    target = np.argmax(y, axis=1)
    positive = y.max(axis=1) > 0.05
    assert positive.any()
    x, chosen = x[positive], [int(k) for k in target[positive]]
    zero = relevance(kind, seed, x, "lrp_gamma", chosen, gamma=0)
    equal(zero, relevance(kind, seed, x, "lrp_alpha_beta", chosen, alpha=1, beta=0))
    equal(zero, relevance(kind, seed, x, "lrp_z_plus", chosen))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU", "dense Tanh", "convolutional ReLU"])
def test_the_winner_takes_all(kind: str, seed: int) -> None:
    """Gupta, Arora 2019: an element is above zero for one class at most, the one whose x ⊙ ∂S/∂x is largest; so below zero."""
    x = items(kind, seed)
    maps, h = (np.stack([relevance(kind, seed, x, m, y) for y in range(3)]) for m in ("cgi", "input_x_gradient"))
    assert ((maps > 0).sum(axis=0) <= 1).all()
    assert ((maps < 0).sum(axis=0) <= 1).all()
    top, bottom = (np.arange(3).reshape(-1, *[1] * x.ndim) == best(h, axis=0) for best in (np.argmax, np.argmin))
    expected = np.where(top, np.maximum(h, 0), 0) + np.where(bottom, np.minimum(h, 0), 0)
    assert off(maps, expected, float(np.abs(h).max())) < 1e-5


# Max SHAP ---------------------------------------------------------------------------------------------------------------


def brute_force(x: Array, rows: Array) -> Array:
    """Shapley values of v(T) = mean over rows of max(x_i for i ∈ T, row_i for others), by all coalitions."""
    inside = np.arange(len(x))

    def v(members: frozenset[int]) -> float:
        return float(np.where(np.isin(inside, list(members)), x, rows).max(axis=1).mean())

    return by_coalitions(v, len(x))


@pytest.mark.parametrize("drawn", ["different numbers", "ties", "all equal"])
@pytest.mark.parametrize("players", range(2, 11))
def test_max_shap_is_brute_force(players: int, drawn: str) -> None:
    """Two to ten elements against two rows; ties within x, within a row, and between both."""
    text = f"g (float[N, {players}] x) => (float[N, 1] y) {{ y = ReduceMax <axes = [1]> (x) }}"
    rng = np.random.default_rng(players)
    x, rows = (rng.standard_normal((n, players)).astype(np.float32) for n in (2, 2))
    if drawn == "ties":
        x, rows = np.round(x), np.round(rows)
    if drawn == "all equal":
        x, rows = np.ones_like(x), np.round(rows)
    found = explainsvc.load(models.build(text)).explain({"x": x}, "max_shap", 0, background=rows).values["x"]
    np.testing.assert_allclose(found, [brute_force(item, rows) for item in x], atol=1e-6)
    assert np.abs(found).max() > 0.05
