"""lime: the regression by its normal equations, the samples by a plain loop, linear models by what the formula predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter
from explainsvc.features import superpixels
from explainsvc.methods._local_model import cosine_distances, euclidean_distances, fitted, proximity
from tests import models
from tests.models import Array, numbers


def ridge(z: Array, y: Array, weights: Array, alpha: float) -> Array:
    """(XᵀWX + αI′)⁻¹XᵀWy with a column of ones in X whose entry of I′ is 0: coefficients, then the intercept."""
    x = np.concatenate([z.astype(np.float64), np.ones((len(z), 1))], axis=1)
    penalty = alpha * np.diag([1.0] * z.shape[1] + [0.0])
    return np.linalg.solve(x.T @ (weights[:, None] * x) + penalty, x.T @ (weights * y))


@pytest.mark.parametrize(("samples", "features", "alpha"), [(60, 7, 1.0), (60, 7, 0.0), (20, 50, 1.0), (30, 30, 0.01)])
def test_the_local_model_solves_the_normal_equations(samples: int, features: int, alpha: float) -> None:
    """More samples than features or fewer, with and without penalty: the intercept is free, R² is weighted."""
    z, y, weights = (
        numbers(samples, features).astype(float),
        numbers(samples, seed=1).astype(float),
        np.abs(numbers(samples, seed=2)),
    )
    expected = ridge(z, y, weights.astype(float), alpha)
    found = fitted(z, y, weights.astype(float), alpha)
    np.testing.assert_allclose([*found.coefficients, found.intercept], expected, rtol=1e-8, atol=1e-10)
    left = y - z @ expected[:-1] - expected[-1]
    spread = y - np.average(y, weights=weights)
    assert found.r2 == pytest.approx(1 - (weights * left**2).sum() / (weights * spread**2).sum(), abs=1e-9)


def test_a_constant_is_fitted_by_the_intercept() -> None:
    """No variance: coefficients 0 and R² 1, not 0/0, rounding of float32 included."""
    y = np.float64(1e3) + 1e-5 * numbers(30)
    found = fitted((numbers(30, 4) > 0).astype(float), y, np.ones(30), 1.0)
    np.testing.assert_allclose(found.coefficients, 0, atol=1e-4)
    assert found.r2 == 1.0


def presence(samples: int, features: int, seed: int) -> Array:
    """The samples: a fair coin per feature, all present in the first."""
    z = np.random.default_rng(seed).integers(0, 2, (features, samples), dtype=np.uint8).astype(float).T
    z[0] = 1
    return z


@pytest.mark.parametrize("alpha", [0.0, 1.0, 30.0])
def test_a_linear_model_is_recovered_up_to_the_shrinkage(alpha: float) -> None:
    """On x·w + b, y is linear in z with slopes w (x − x′): recovered for α = 0, else (ZᵀΠZ + αI)⁻¹ZᵀΠZ of them, Z centred."""
    x, w, z = numbers(2, 4), models.weights("w", 4, 3), presence(200, 4, 3)
    found = explainsvc.load(models.linear()).explain({"x": x}, "lime", [0, 2], seed=3, samples=200, alpha=alpha, baseline=0.5)
    pi = np.sqrt(np.exp(-(4 - z.sum(axis=1)) / (0.75**2 * 4)))
    centred = z - (pi @ z) / pi.sum()
    gram = centred.T @ (pi[:, None] * centred)
    slopes = w.T[[0, 2]] * (x - 0.5)
    expected = np.stack([np.linalg.solve(gram + alpha * np.eye(4), gram @ s) for s in slopes])
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-4, atol=1e-5)
    if alpha == 0:
        np.testing.assert_allclose(found.values["x"], slopes, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.parameters["weighted_r2"], 1, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_pictures_are_a_plain_loop(batch_size: int) -> None:
    """Two pictures of 6 and 3 features: each fits its own, with cosine distances and σ = 1/4, alone as with the other."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    columns = np.array([[0, 1, 2, 3, 4, 4, 5, 5], [1, 1, 1, 1, 4, 4, 5, 5]])
    masks = np.array(np.broadcast_to(columns[:, None, None, :], x.shape))
    z = presence(80, 6, 5)
    found = model.explain({"x": x}, "lime", [2, 0], seed=5, samples=80, batch_size=batch_size, feature_mask=masks)
    for i, (item, mask, target) in enumerate(zip(x, masks, (2, 0), strict=True)):
        y = [model.predict({"x": np.where(row[mask] == 1, item, 0).astype(np.float32)[None]})["y"][0, target] for row in z]
        own = z[:, np.unique(mask)]
        cosine = own.sum(axis=1) / np.maximum(np.linalg.norm(own, axis=1), 1e-12) / np.sqrt(own.shape[1])
        pi = np.sqrt(np.exp(-((1 - cosine) ** 2) / 0.25**2))
        expected = ridge(own, np.array(y, float), pi, 1.0)
        shown = expected[np.searchsorted(np.unique(mask), mask)]
        np.testing.assert_allclose(found.values["x"][i], shown, rtol=1e-3, atol=1e-5)
        assert found.parameters["intercept"][i] == pytest.approx(expected[-1], abs=1e-5)
    alone = model.explain({"x": x[:1]}, "lime", 2, seed=5, samples=80, feature_mask=masks[:1])
    np.testing.assert_allclose(alone.values["x"], found.values["x"][:1], rtol=1e-3, atol=1e-5)


def test_superpixels_are_the_default() -> None:
    """An image without feature_mask has the features of SLIC."""
    model, x = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8)
    found = model.explain({"x": x}, "lime", 0, samples=80).values["x"]
    given = model.explain({"x": x}, "lime", 0, samples=80, feature_mask=superpixels(x[0])).values["x"]
    np.testing.assert_array_equal(found, given)


def test_tokens_of_a_sequence() -> None:
    """Ids against a baseline id, cosine distances, by a loop over the samples."""
    ids, table, z = np.array([[1, 4, 4, 9, 0]]), models.weights("table", 10, 3), presence(300, 5, 0)
    found = explainsvc.load(models.embedding()).explain({"ids": ids}, "lime", 2, samples=300, baseline=6)
    y = np.array([np.tanh(table[np.where(row == 1, ids[0], 6)].sum(axis=0)[2]) for row in z])
    expected = ridge(z, y, proximity(cosine_distances(z), 0.25), 1.0)[:-1]
    np.testing.assert_allclose(found.values["ids"][0], expected, rtol=1e-3, atol=1e-5)


def test_distances_and_kernel() -> None:
    """0 from x itself; 1 by cosine from a sample without any feature; √ of the number of absent ones; √exp(−d²/σ²)."""
    z = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(cosine_distances(z), [0, 0.5, 1])
    np.testing.assert_allclose(euclidean_distances(z, z[0]), np.sqrt([0, 3, 4]))
    np.testing.assert_allclose(proximity(np.array([0.0, 0.25, 0.5]), 0.25), np.exp([0, -0.5, -2]))


def test_the_kernel_can_be_chosen() -> None:
    """A named distance and width give the fit with these weights."""
    x, z = numbers(1, 6), presence(150, 6, 0)
    model = explainsvc.load(models.mlp())
    y = model.predict({"x": (x * z).astype(np.float32)})["y"][:, 1].astype(float)
    found = model.explain({"x": x}, "lime", 1, samples=150, distance="cosine", kernel_width=0.4)
    expected = ridge(z, y, proximity(cosine_distances(z), 0.4), 1.0)[:-1]
    np.testing.assert_allclose(found.values["x"][0], expected, rtol=1e-4, atol=1e-5)


def test_background_rows_are_averaged() -> None:
    """y of a sample is the mean of S over the rows that stand for absent features."""
    x, z, rows = numbers(1, 6), presence(100, 6, 0), numbers(4, 6, seed=7)
    model = explainsvc.load(models.mlp())
    mixed = np.where(z[:, None, :] == 1, x[0], rows).reshape(-1, 6).astype(np.float32)
    y = model.predict({"x": mixed})["y"][:, 1].astype(float).reshape(100, 4).mean(axis=1)
    found = model.explain({"x": x}, "lime", 1, samples=100, background=rows)
    expected = ridge(z, y, proximity(euclidean_distances(z, z[0]), 0.75 * np.sqrt(6)), 1.0)[:-1]
    np.testing.assert_allclose(found.values["x"][0], expected, rtol=1e-4, atol=1e-5)


def test_a_gaussian_neighbourhood_gives_slopes_per_deviation() -> None:
    """On x·w + b without penalty: w_j σ_j, whatever x; a column that never changes gets 0."""
    rows, w = numbers(30, 4, seed=4) * [1, 3, 0.2, 0] + [5, 0, 1, 2], models.weights("w", 4, 3)
    x = np.array([[5, 1, 1, 2], [4, -2, 1.1, 2]], np.float32)
    options: dict[str, Any] = {"neighbourhood": "gaussian", "background": rows, "samples": 300}
    found = explainsvc.load(models.linear()).explain({"x": x}, "lime", [0, 2], alpha=0.0, **options)
    np.testing.assert_allclose(found.values["x"], w.T[[0, 2]] * rows.std(axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.parameters["weighted_r2"], 1, atol=1e-5)


def test_a_gaussian_neighbourhood_is_a_plain_loop() -> None:
    """Rows around the mean, distances from x in deviations, ridge on standardised columns."""
    model, x, rows = explainsvc.load(models.mlp()), numbers(2, 6), 2 * numbers(25, 6, seed=8)
    rng, mean, deviation = np.random.default_rng(1), rows.mean(axis=0), rows.std(axis=0)
    drawn = np.stack([rng.standard_normal(6) for _ in range(99)])
    found = model.explain({"x": x}, "lime", [1, 2], seed=1, samples=100, neighbourhood="gaussian", background=rows)
    for i, target in enumerate((1, 2)):
        z = np.concatenate([((x[i] - mean) / deviation)[None], drawn])
        y = model.predict({"x": np.concatenate([x[i][None], mean + deviation * drawn]).astype(np.float32)})["y"][:, target]
        pi = np.sqrt(np.exp(-((z - z[0]) ** 2).sum(axis=1) / (0.75**2 * 6)))
        np.testing.assert_allclose(found.values["x"][i], ridge(z, y, pi, 1.0)[:-1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [
    {}, {"background": np.zeros((1, 4))}, {"background": np.zeros((3, 4)), "feature_mask": [0, 0, 1, 1]},
    {"background": np.zeros((3, 4)), "distance": "cosine"},
], ids=["no background", "one row", "groups", "cosine"])  # fmt: skip
def test_gaussian_neighbourhoods_that_cannot_be(options: dict[str, Any]) -> None:
    """No statistics, groups of features, and the cosine between rows that are not binary are refused."""
    with pytest.raises(InvalidParameter, match=r"parameters\.(background|feature_mask|distance)"):
        explainsvc.load(models.linear()).explain({"x": numbers(1, 4)}, "lime", 0, neighbourhood="gaussian", **options)


def test_a_regression_that_does_not_fit_into_memory_is_refused() -> None:
    """Before any sample is drawn, naming the number of features."""
    with pytest.raises(InvalidParameter, match=r"parameters\.samples.*128 features"):
        explainsvc.load(models.cnn()).explain({"x": numbers(1, 2, 8, 8)}, "lime", 0, feature_mask="element", samples=1_000_000)


def test_a_poor_fit_is_told() -> None:
    """Exclusive or, (x₀ − x₁)² at (1, 1), is not linear, x·w is; too few samples for the features are told as well."""
    graph = "g (float[N, 2] x) => (float[N, 1] y) { a, b = Split <axis = 1> (x, halves)  d = Sub (a, b)  y = Mul (d, d) }"
    curved = explainsvc.load(models.build(graph, {"halves": np.array([1, 1])}))
    x = np.array([[1.0, 1.0]], np.float32)
    assert [c for c in curved.explain({"x": x}, "lime", 0).caveats if "weighted R²" in c]
    straight = explainsvc.load(models.linear())
    assert straight.explain({"x": numbers(1, 4)}, "lime", 0).caveats == ()
    assert [c for c in straight.explain({"x": numbers(1, 4)}, "lime", 0, samples=4).caveats if "4 samples for 4 features" in c]


def test_trees_and_models_without_batch_axis() -> None:
    """The tree's split decides S alone, by hand: present x₀ = 1 is class 2, absent class 0; a model without items by a loop."""
    x = np.array([[1, 2]], np.float32)
    z = presence(100, 2, 0)
    found = explainsvc.load(models.trees()).explain({"x": x}, "lime", 2, samples=100).values["x"][0]
    expected = ridge(z, z[:, 0], proximity(euclidean_distances(z, z[0]), 0.75 * np.sqrt(2)), 1.0)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    x, w, z = numbers(5), models.weights("w", 5, 3), presence(100, 5, 0)
    found = explainsvc.load(models.without_batch()).explain({"x": x}, "lime", 1, samples=100).values["x"]
    expected = ridge(z, np.tanh((x * z) @ w)[:, 1], proximity(euclidean_distances(z, z[0]), 0.75 * np.sqrt(5)), 1.0)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_two_inputs_are_one_list_of_features() -> None:
    """Five features of two inputs, fitted together."""
    model, a, b, z = explainsvc.load(models.two_by_two()), numbers(2, 3), numbers(2, 2), presence(120, 5, 0)
    found = model.explain({"a": a, "b": b}, "lime", [0, 1], samples=120).values
    for i in range(2):
        feeds = {"a": (a[i] * z[:, :3]).astype(np.float32), "b": (b[i] * z[:, 3:]).astype(np.float32)}
        y = model.predict(feeds)["p"][:, i].astype(float)
        expected = ridge(z, y, proximity(euclidean_distances(z, z[0]), 0.75 * np.sqrt(5)), 1.0)[:-1]
        np.testing.assert_allclose(np.concatenate([found["a"][i], found["b"][i]]), expected, rtol=1e-4, atol=1e-5)
