"""expected_gradients: exact where the gradient is constant, the integral over the background in expectation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import explainsvc
from explainsvc.errors import InvalidParameter
from tests import models
from tests.methods.torch_truth import TARGETS, gradient_of, mlp, tensor
from tests.models import Array, numbers

MLP = explainsvc.load(models.mlp())
ROWS = numbers(5, 6, seed=8)
EG = "expected_gradients"


def integral(x: Array, rows: Array, weights: Array, steps: int = 2000) -> Array:
    """E over the rows of (x − x′) ⊙ ∫ ∂S dα, by a fine midpoint sum of torch's gradients."""
    gradient, total = gradient_of(mlp, weights), np.zeros(x.shape)
    for row in rows.astype(np.float64):
        points = [row + (k + 0.5) / steps * (x - row) for k in range(steps)]
        slopes = gradient(np.concatenate(points)).reshape(steps, *x.shape)
        total += (x - row) * slopes.mean(axis=0) / len(rows)
    return total


@pytest.mark.parametrize("name", TARGETS)
def test_the_mean_is_the_integral_within_its_standard_error(name: str) -> None:
    """8000 draws come within four standard errors of the integral, and no error is reported too small or idly large."""
    target, weights = TARGETS[name]
    x = numbers(2, 6)
    found = MLP.explain({"x": x}, EG, target=target, background=ROWS, samples=8000, batch_size=512)
    off = np.abs(found.values["x"] - integral(x, ROWS, weights))
    bound = found.parameters["standard_error"]["x"]
    assert off.max() < 4 * bound
    assert off.max() > bound / 20
    assert found.residual is not None
    assert (np.abs(found.residual) < 4 * np.array(found.parameters["residual_standard_error"])).all()


def test_a_linear_model_is_exact_for_the_rows_drawn() -> None:
    """The gradient is w everywhere: with one row every sample is w ⊙ (x − x′), the error zero, the sum complete."""
    model, x, row = explainsvc.load(models.linear()), numbers(3, 4), numbers(4, seed=5)
    found = model.explain({"x": x}, EG, target=2, background=row, samples=3)
    np.testing.assert_allclose(found.values["x"], models.weights("w", 4, 3)[:, 2] * (x - row), rtol=1e-5, atol=1e-6)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    np.testing.assert_allclose(found.parameters["residual_standard_error"], 0, atol=1e-7)


def test_the_reported_error_is_that_of_the_mean() -> None:
    """On a linear model the draws are w ⊙ (x − x′): √(sample variance / n) of the drawn rows, from the seeded generator."""
    model, x, rows = explainsvc.load(models.linear()), numbers(1, 4), numbers(7, 4, seed=3)
    found = model.explain({"x": x}, EG, target=0, background=rows, samples=40, seed=11)
    rng, drawn = np.random.default_rng(11), []
    for _ in range(40):
        drawn.append(int(rng.integers(7)))
        rng.uniform()
    terms = models.weights("w", 4, 3)[:, 0] * (x - rows[drawn])
    np.testing.assert_allclose(found.values["x"][0], terms.mean(axis=0), rtol=1e-4, atol=1e-6)
    error = terms.std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(found.parameters["standard_error"]["x"], error.max(), rtol=1e-4)
    total = terms.sum(axis=1).std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(found.parameters["residual_standard_error"], [total], rtol=1e-4)


def test_the_baseline_value_is_the_mean_over_all_rows() -> None:
    """Completeness is held against S at every row, drawn or not."""
    found = MLP.explain({"x": numbers(2, 6)}, EG, target=1, background=ROWS, samples=2)
    assert found.baseline_value is not None
    np.testing.assert_allclose(found.baseline_value, [MLP.predict({"x": ROWS})["y"][:, 1].mean()] * 2, rtol=1e-5)


def test_an_item_alone_gets_what_it_gets_in_a_batch() -> None:
    """Items share the draws: the company of other items changes nothing."""
    x = numbers(3, 6)
    together = MLP.explain({"x": x}, EG, target=0, background=ROWS, samples=20, seed=4).values["x"]
    alone = MLP.explain({"x": x[1:2]}, EG, target=0, background=ROWS, samples=20, seed=4).values["x"]
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_expectation_is_captums(noise: float) -> None:
    """captum's GradientShap with σ = noise · range: the two means differ by less than four joint standard errors."""
    attr = pytest.importorskip("captum.attr")
    x = numbers(1, 6)
    ours = MLP.explain({"x": x}, EG, target=1, background=ROWS, samples=6000, noise=noise, batch_size=512)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  captum draws rows and α from numpy's global state
    shap = attr.GradientShap(mlp)
    sigma = noise * float(np.ptp(x))
    theirs = np.stack([
        shap.attribute(tensor(x), tensor(ROWS), n_samples=1500, stdevs=sigma, target=1).numpy()[0] for _ in range(4)
    ])  # fmt: skip
    joint = ours.parameters["standard_error"]["x"] * np.sqrt(2)
    assert np.abs(ours.values["x"][0] - theirs.mean(axis=0)).max() < 4 * joint


def test_without_background_it_says_what_is_missing() -> None:
    """Background data are required, and the error says what to give."""
    with pytest.raises(InvalidParameter, match="background") as caught:
        MLP.explain({"x": numbers(1, 6)}, EG)
    assert [v.field for v in caught.value.violations] == ["parameters.background"]
    assert "integrated_gradients" in caught.value.to_do


def test_several_inputs_take_their_rows_together() -> None:
    """One draw gives both inputs' rows: p is linear in b, so its part is exact where a equals its row."""
    model = explainsvc.load(models.two_by_two())
    a, b, rows = numbers(2, 3), numbers(2, 2), numbers(4, 2, seed=2)
    background: dict[str, Any] = {"a": np.repeat(a[:1], 4, axis=0), "b": rows}
    found = model.explain({"a": a[:1], "b": b[:1]}, EG, target={"output": "p", "index": 0}, background=background, samples=64)
    np.testing.assert_allclose(found.values["a"], 0, atol=1e-7)
    slope = 1 + np.tanh(a[:1] @ models.weights("wa", 3, 2))[0, 0]
    drawn = found.values["b"][0, 0] / slope
    assert rows[:, 0].min() < b[0, 0] - drawn < rows[:, 0].max()
