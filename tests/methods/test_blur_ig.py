"""blur_ig: the sum of the paper over scipy's blurred images, in any layout."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods.blur_integrated_gradients import blur
from tests import models
from tests.methods.torch_truth import TARGETS, Gradient, cnn, gradient_of
from tests.models import Array, numbers


def slow(x: Array, gradient: Gradient, sigmas: Array, axes: tuple[int, ...]) -> Array:
    """−Σ_i Δσ_i ∂S(L(x, σ_i)) ⊙ (L(x, σ_i + 0.01) − L(x, σ_i)) / 0.01."""

    def blurred(sigma: float) -> Array:
        wide = x.astype(np.float64)
        return wide if sigma == 0 else ndimage.gaussian_filter(wide, sigma, mode="constant", axes=axes)

    total = np.zeros(x.shape)
    for sigma, following in pairwise(sigmas):
        total -= (following - sigma) * gradient(blurred(sigma)) * (blurred(sigma + 0.01) - blurred(sigma)) / 0.01
    return total


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("grid", ["linear", "sqrt"])
def test_it_is_the_papers_sum(grid: str, name: str) -> None:
    """Over σ evenly, or over σ² evenly, with torch's gradients at scipy's blurred images."""
    target, weights = TARGETS[name]
    x, share = numbers(2, 2, 8, 8), np.arange(13) / 12
    found = explainsvc.load(models.cnn()).explain({"x": x}, "blur_ig", target=target, max_sigma=4, steps=12, grid=grid)
    expected = slow(x, gradient_of(lambda v: cnn(v)[0], weights), 4 * (share if grid == "linear" else np.sqrt(share)), (2, 3))
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-3, atol=1e-5)


def test_the_blur_is_scipys() -> None:
    """As a product with matrices: the same kernel, cut off where scipy cuts it, zero outside."""
    x = numbers(3, 9, 11).astype(np.float64)
    for sigma in (0.3, 1.0, 7.5):
        expected = ndimage.gaussian_filter(x, [0, sigma, sigma], mode="constant")
        np.testing.assert_allclose(blur(x, sigma, (1, 2)), expected, rtol=1e-10, atol=1e-12)


def test_channels_last_inputs_are_blurred_over_positions() -> None:
    """On [N, H, W, C] the channels do not mix: the model in the other layout gets the same map."""
    x = numbers(2, 8, 6, 2)
    text = "g (float[N, 2, 8, 6] x) => (float[N, 3] y) { c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)  r = Relu (c)"
    text += " m = ReduceMean <axes = [2, 3], keepdims = 0> (r)  y = MatMul (m, w2) }"
    tensors = {"w1": models.weights("w1", 4, 2, 3, 3), "b1": models.weights("b1", 4), "w2": models.weights("w2", 4, 3)}
    first = explainsvc.load(models.build(text, tensors))
    options: dict[str, Any] = {"target": 1, "max_sigma": 3, "steps": 10}
    expected = first.explain({"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}, "blur_ig", **options).values["x"]
    found = explainsvc.load(models.nhwc()).explain({"x": x}, "blur_ig", **options).values["x"]
    assert np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-6)


def test_signals_have_one_position_axis() -> None:
    """On [N, C, L] the blur runs along L only: a linear model gets w ⊙ (x − L(x)) where the path is fine."""
    w = models.weights("w", 1, 2, 9)
    text = "g (float[N, 2, 9] x) => (float[N, 1] y) { c = Conv (x, w)  y = Flatten (c) }"
    x = numbers(2, 2, 9)
    found = explainsvc.load(models.build(text, {"w": w})).explain({"x": x}, "blur_ig", max_sigma=2, steps=4000, batch_size=512)
    end = ndimage.gaussian_filter(x.astype(np.float64), 2, mode="constant", axes=(2,))
    np.testing.assert_allclose(found.values["x"], w * (x - end), atol=0.02)


def test_the_residual_is_what_is_missing() -> None:
    """Σ values − (S(x) − S(L(x, max_sigma))): a tenth of the difference with 10 scales, a hundredth with 100."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    coarse, fine = (model.explain({"x": x}, "blur_ig", target=0, max_sigma=3, steps=steps) for steps in (10, 100))
    end = ndimage.gaussian_filter(x.astype(np.float64), 3, mode="constant", axes=(2, 3)).astype(np.float32)
    at_end = model.predict({"x": end})["y"][:, 0]
    assert coarse.residual is not None
    assert fine.residual is not None
    np.testing.assert_allclose(coarse.baseline_value, at_end, rtol=1e-4)
    total = coarse.values["x"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(coarse.residual, total - (coarse.output_value - at_end), atol=1e-5)
    assert np.abs(coarse.residual).min() > 0.1
    assert np.abs(fine.residual).max() < 0.01 * np.abs(fine.output_value - at_end).max()


@pytest.mark.parametrize("make", [models.mlp, models.two_by_two])
def test_columns_have_no_positions(make: Any) -> None:
    """A table is refused, with another method to use."""
    model = explainsvc.load(make())
    feeds = {t.name: numbers(1, int(t.shape[1])) for t in model.inputs if t.shape}
    with pytest.raises(MethodNotApplicable, match="positions") as caught:
        model.explain(feeds, "blur_ig")
    assert caught.value.to_do == "Use integrated_gradients"
