"""sampling_shap: a plain loop over the same permutations; its standard error; its limit."""

from __future__ import annotations

import numpy as np

import explainsvc
from tests import models
from tests.methods.by_hand import quadratic_shapley
from tests.methods.games import game_of
from tests.methods.test_kernel_shap import explained
from tests.models import numbers


def test_permutations_are_a_plain_loop() -> None:
    """Gains along three random orders and their reverses, one mixture at a time; residual 0; error over the three pairs."""
    model, x, rows = explainsvc.load(models.mlp()), numbers(1, 6), numbers(3, 6, seed=5)
    found = model.explain({"x": x}, "sampling_shap", target=1, background=rows, samples=5, seed=9, batch_size=7)
    v = game_of(model, {"x": x}, [{"x": row[None]} for row in rows], {"x": np.arange(6)[None]}, lambda o: o["y"][0, 1])
    rng, pairs = np.random.default_rng(9), np.zeros((3, 6))
    for pair in pairs:
        order = rng.permutation(6)
        for way in (order, order[::-1]):
            for k, player in enumerate(way):
                pair[player] += (v(frozenset(way[: k + 1].tolist())) - v(frozenset(way[:k].tolist()))) / 2
    np.testing.assert_allclose(found.values["x"][0], pairs.mean(axis=0), atol=1e-6)
    error = pairs.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.parameters["standard_error"], [error.max()], rtol=1e-4)
    assert found.parameters["samples"] == 6
    assert np.abs(found.residual).max() < 1e-12


def test_many_permutations_come_near() -> None:
    """Within four standard errors of the Shapley values."""
    found, expected = explained("sampling_shap", samples=400)
    error = np.array(found.parameters["standard_error"])
    assert (np.abs(found.values["x"] - expected).max(axis=1) < 4 * error).all()
    assert error.max() < 0.02


def test_a_large_error_is_said() -> None:
    """Few permutations of many pixels: the caveat names the error."""
    model, x = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8)
    found = model.explain({"x": x}, "sampling_shap", target=1, feature_mask="pixel", samples=4)
    assert found.parameters["standard_error"][0] > 0.1 * np.abs(found.values["x"]).max()
    assert any("more samples are needed" in c for c in found.caveats)


def test_pairs_are_exact_for_pairs_of_features() -> None:
    """Where only two features interact, an order and its reverse give exactly the Shapley values."""
    x = numbers(2, 4)
    found = explainsvc.load(models.quadratic()).explain({"x": x}, "sampling_shap", samples=4)
    np.testing.assert_allclose(found.values["x"], quadratic_shapley(x), rtol=1e-5, atol=1e-6)
