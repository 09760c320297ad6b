"""random and sobel: what a check reports for maps that do not know the model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import explainsvc
from tests import models
from tests.models import Array, numbers

CNN, NHWC = explainsvc.load(models.cnn()), explainsvc.load(models.nhwc())


def drawn(distribution: str, seed: int = 0) -> Array:
    """100 random maps."""
    x = numbers(100, 2, 8, 8)
    return CNN.explain({"x": x}, "random", target=0, seed=seed, distribution=distribution).values["x"]


@pytest.mark.parametrize(
    ("distribution", "mean", "variance"), [("normal", 0, 1), ("uniform", 0, 1 / 3), ("bernoulli", 0.5, 0.25)]
)
def test_random_numbers_have_their_moments(distribution: str, mean: float, variance: float) -> None:
    """Mean and variance of 12,800 draws are the distribution's, within four standard errors."""
    found = drawn(distribution)
    assert found.dtype == np.float32
    assert abs(found.mean() - mean) < 4 * np.sqrt(variance / found.size)
    assert abs(found.var() - variance) < 4 * np.sqrt(2 / found.size)


def test_random_depends_on_the_seed_alone() -> None:
    """Same seed, same map, for other weights, inputs and targets too; another seed, another map."""
    np.testing.assert_array_equal(drawn("normal"), drawn("normal"))
    other = explainsvc.load(models.cnn(bias=False)).explain({"x": numbers(100, 2, 8, 8, seed=5)}, "random", target=2)
    np.testing.assert_array_equal(drawn("normal"), other.values["x"])
    assert abs(np.corrcoef(drawn("normal").ravel(), drawn("normal", 1).ravel())[0, 1]) < 0.05


def test_inputs_get_different_random_maps() -> None:
    """Two inputs of one model do not share their numbers."""
    model = explainsvc.load(models.two_by_two())
    found = model.explain({"a": numbers(4, 3), "b": numbers(4, 2)}, "random").values
    assert np.abs(found["a"][:, :2] - found["b"]).min() > 0


def test_sobel_is_scipys_per_channel() -> None:
    """√(gx² + gy²) by scipy.ndimage on each channel plane."""
    x = numbers(2, 2, 8, 8)
    found = CNN.explain({"x": x}, "sobel").values["x"]
    for n in range(2):
        for c in range(2):
            plane = x[n, c].astype(np.float64)
            expected = np.hypot(ndimage.sobel(plane, axis=0), ndimage.sobel(plane, axis=1))
            np.testing.assert_allclose(found[n, c], expected, rtol=1e-5)


def test_sobel_of_a_ramp() -> None:
    """A slope of one per pixel has the answer 8 inside, in channels-last layout too."""
    x = np.zeros((1, 8, 6, 2), np.float32)
    x[..., 0] = np.arange(8)[:, None]
    x[..., 1] = 2 * np.arange(6)
    found = NHWC.explain({"x": x}, "sobel").values["x"]
    np.testing.assert_allclose(found[0, 1:-1, 1:-1, 0], 8)
    np.testing.assert_allclose(found[0, 1:-1, 1:-1, 1], 16)


@pytest.mark.parametrize("method", ["random", "sobel"])
def test_controls_say_that_they_are(method: str) -> None:
    """Nobody takes one for an explanation: the result says it."""
    found = CNN.explain({"x": numbers(1, 2, 8, 8)}, method)
    assert any("a control" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("method", ["random", "sobel"])
def test_controls_do_not_look_at_the_weights(method: str) -> None:
    """The map is the same for a model of other weights."""
    x = numbers(2, 2, 8, 8)
    maps = [m.explain({"x": x}, method, target=0).values["x"] for m in (CNN, explainsvc.load(models.cnn(bias=False)))]
    np.testing.assert_array_equal(*maps)
