"""PAIR's saliency package, fed with our gradients: guided IG, blur IG, XRAI to rounding; IG up to its endpoint mean."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

core = pytest.importorskip("saliency.core")

import explainsvc  # noqa: E402
from explainsvc.methods._segments import segments  # noqa: E402
from tests import models  # noqa: E402
from tests.models import Array, numbers  # noqa: E402

LIMIT = 1e-4
SIDE = 224
TARGET = 1


@cache
def model() -> explainsvc.Model:
    """A small network over 224 × 224 pixels, the size for which XRAI's constants hold: 7 × 7 patches, two layers."""
    text = f"""g (float[N, 3, {SIDE}, {SIDE}] x) => (float[N, 3] y) {{
      c = Conv <strides = [7, 7]> (x, w1, b1)  r = Relu (c)  d = Conv <strides = [4, 4]> (r, w2, b2)  t = Tanh (d)
      f = Flatten (t)  y = MatMul (f, w3) }}"""
    tensors = {"w1": models.weights("w1", 6, 3, 7, 7, scale=0.1), "b1": models.weights("b1", 6)}
    tensors |= {
        "w2": models.weights("w2", 4, 6, 4, 4, scale=0.05),
        "b2": models.weights("b2", 4),
        "w3": models.weights("w3", 256, 3),
    }
    return explainsvc.load(models.build(text, tensors))


@cache
def image() -> Array:
    """[1, 3, 224, 224]: coloured rectangles with some texture."""
    rng = np.random.default_rng(3)
    x = np.zeros((3, SIDE, SIDE))
    for _ in range(9):
        top, left = rng.integers(0, 180, 2)
        height, width = rng.integers(30, 90, 2)
        x[:, top : top + height, left : left + width] = rng.uniform(-1, 1, (3, 1, 1))
    return (x + 0.03 * rng.standard_normal(x.shape)).astype(np.float32)[None]


def call(batch: Any, call_model_args: Any = None, expected_keys: Any = None) -> dict[str, Array]:
    """PAIR's interface to a model: [N, H, W, C] in, our gradients out."""
    x = np.ascontiguousarray(np.asarray(batch).transpose(0, 3, 1, 2)).astype(np.float32)
    gradient = model().explain({"x": x}, target=TARGET).values["x"].astype(np.float64)
    return {core.INPUT_OUTPUT_GRADIENTS: gradient.transpose(0, 2, 3, 1)}


def pixels() -> Array:
    """The image as PAIR takes it, [H, W, C] in float64."""
    return image()[0].transpose(1, 2, 0).astype(np.float64)


def ours(method: str, **parameters: Any) -> Array:
    """Our map, [H, W, C]."""
    return model().explain({"x": image()}, method, target=TARGET, **parameters).values["x"][0].transpose(1, 2, 0)


def equal(found: Array, expected: Array) -> None:
    """Equal to LIMIT of the largest value."""
    scale = float(np.abs(expected).max())
    assert scale > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=LIMIT * scale)


@pytest.mark.parametrize(("fraction", "max_dist"), [(0.25, 0.02), (0.1, 0.1), (0.5, 1.0)])
def test_guided_ig(monkeypatch: pytest.MonkeyPatch, fraction: float, max_dist: float) -> None:
    """The same path and the same sum. PAIR's call of numpy.quantile names an argument as numpy did before version 2.4."""
    quantile = np.quantile
    monkeypatch.setattr(np, "quantile", lambda a, q, interpolation: quantile(a, q, method=interpolation))
    base = np.full_like(pixels(), 0.1)
    expected = core.GuidedIG().GetMask(pixels(), call, x_baseline=base, x_steps=20, fraction=fraction, max_dist=max_dist)
    found = ours("guided_integrated_gradients", steps=20, baseline=0.1, fraction=fraction, max_dist=max_dist)
    equal(found, expected)


def test_blur_ig() -> None:
    """The same scales, kernels and derivative."""
    expected = core.BlurIG().GetMask(pixels(), call, max_sigma=20, steps=15)
    equal(ours("blur_ig", max_sigma=20, steps=15), expected)


def test_blur_ig_over_even_squares() -> None:
    """PAIR's square-root grid ends at √max_sigma: ours with that as max_sigma."""
    expected = core.BlurIG().GetMask(pixels(), call, max_sigma=16, steps=15, sqrt=True)
    equal(ours("blur_ig", max_sigma=4, steps=15, grid="sqrt"), expected)


def test_integrated_gradients_differ_by_the_end_points_only() -> None:
    """PAIR's mean over n points with both ends is the trapezoid sum · (n−1)/n and half of both ends' gradients / n."""
    n = 12
    base = np.full_like(pixels(), -0.3)
    expected = core.IntegratedGradients().GetMask(pixels(), call, x_baseline=base, x_steps=n)
    trapezoid = ours("integrated_gradients", steps=n, baseline=-0.3, rule="trapezoid")
    ends = sum(call(x[None])[core.INPUT_OUTPUT_GRADIENTS][0] for x in (base, pixels())) / 2
    equal(trapezoid * (n - 1) / n + (pixels() - base) * ends / n, expected)


def test_segments_are_pairs() -> None:
    """The same masks at all six scales, dilated alike, in the same order."""
    from saliency.core.xrai import _get_segments_felzenszwalb

    expected = np.stack([mask.reshape(-1) for mask in _get_segments_felzenszwalb(pixels())])
    np.testing.assert_array_equal(segments(pixels()), expected)
    assert len(expected) > 20


@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_xrai(algorithm: str) -> None:
    """Given our integrated gradients, the same heat map; PAIR integrates by its endpoint mean."""
    parts = [ours("integrated_gradients", baseline=float(extreme)) for extreme in (image().min(), image().max())]
    parameters = core.XRAIParameters(algorithm=algorithm)
    details = core.XRAI().GetMaskWithDetails(
        pixels(), None, base_attribution=np.mean(parts, axis=0).astype(np.float64), extra_parameters=parameters
    )
    found = ours("xrai", algorithm=algorithm)
    equal(found[..., 0], details.attribution_mask)
    np.testing.assert_array_equal(found[..., 1], found[..., 0])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_regions_of_random_evidence(algorithm: str, seed: int) -> None:
    """Region growing alone, over evidence that no model made."""
    from explainsvc.methods.xrai import heat_map

    evidence = numbers(SIDE, SIDE, seed=seed).astype(np.float64)
    masks = [mask.reshape(SIDE, SIDE) for mask in segments(pixels())]
    grow = core.XRAI._xrai if algorithm == "full" else core.XRAI._xrai_fast
    expected, _ = grow(attr=evidence, segs=masks)
    np.testing.assert_allclose(heat_map(pixels(), evidence, algorithm), expected, rtol=1e-6, atol=1e-9)
