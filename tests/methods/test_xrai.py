"""xrai: region growing in loops over segments, and the map of an image whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods._segments import segments
from explainsvc.methods.xrai import covered, fast_order, full_order
from tests import models
from tests.models import Array, numbers


def slow(evidence: Array, masks: Array, least: int) -> Array:
    """Algorithm 1 with sets of pixels: the segment whose new pixels have the highest mean, again and again."""
    heat: dict[int, float] = {}
    left = {k: {int(i) for i in np.flatnonzero(mask)} for k, mask in enumerate(masks)}
    while left := {k: new for k, pixels in left.items() if len(new := pixels - heat.keys()) >= least}:
        gains = {k: float(np.mean([evidence[i] for i in new])) for k, new in left.items()}
        best = max(gains, key=lambda k: gains[k])
        heat |= dict.fromkeys(left[best], gains[best])
    rest = [i for i in range(len(evidence)) if i not in heat]
    heat |= dict.fromkeys(rest, float(np.mean([evidence[i] for i in rest])) if rest else 0.0)
    return np.array([heat[i] for i in range(len(evidence))])


def once(evidence: Array, masks: Array, least: int) -> Array:
    """The fast variant: segments in the order of their whole means."""
    heat = np.full(len(evidence), np.nan)
    for k in sorted(range(len(masks)), key=lambda k: -evidence[masks[k]].mean()):
        new = masks[k] & np.isnan(heat)
        if new.sum() >= least:
            heat[new] = evidence[new].mean()
    rest = np.isnan(heat)
    heat[rest] = evidence[rest].mean() if rest.any() else 0.0
    return heat


@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_regions_grow_as_in_the_paper(seed: int, least: int) -> None:
    """Overlapping random segments over 60 pixels, some of which none covers: both variants equal their slow form."""
    rng = np.random.default_rng(seed)
    masks = rng.uniform(size=(14, 60)) < 0.2
    masks[:, :5] = False
    evidence = rng.standard_normal(60)
    found = covered(evidence, masks, full_order(evidence, masks, least))
    np.testing.assert_allclose(found, slow(evidence, masks, least), rtol=1e-9)
    found = covered(evidence, masks, fast_order(evidence, masks, least))
    np.testing.assert_allclose(found, once(evidence, masks, least), rtol=1e-9)


def squares() -> Array:
    """[1, 1, 64, 64]: a bright and a grey square on black."""
    x = np.zeros((1, 1, 64, 64), np.float32)
    x[..., 8:28, 8:28] = 1
    x[..., 36:56, 36:56] = 0.5
    return x


def corner_model() -> explainsvc.Model:
    """y₀ = Σ over the upper left quarter, y₁ = Σ over the lower right one, by a convolution as large as the image."""
    w = np.zeros((2, 1, 64, 64), np.float32)
    w[0, 0, :32, :32] = w[1, 0, 32:, 32:] = 1
    text = "g (float[N, 1, 64, 64] x) => (float[N, 2] y) { c = Conv (x, w)  y = Flatten (c) }"
    return explainsvc.load(models.build(text, {"w": w}))


@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_the_square_that_the_class_sums_comes_first(algorithm: str) -> None:
    """The mean over black and white baselines is w ⊙ (x − ½): the square of the class is above all, the other's is nothing."""
    x = squares()
    for target, own, other in ((0, (8, 28), (36, 56)), (1, (36, 56), (8, 28))):
        heat = corner_model().explain({"x": x}, "xrai", target=target, algorithm=algorithm).values["x"][0, 0]
        inside, outside = heat[slice(*own), slice(*own)], heat[slice(*other), slice(*other)]
        assert inside[2:-2, 2:-2].min() >= heat.max() - 1e-9
        np.testing.assert_allclose(outside[2:-2, 2:-2], 0, atol=0.05)


def test_a_contrast_is_ranked_by_its_own_evidence() -> None:
    """S₀ − S₁: the square of class 1 becomes the lowest region where it was nothing before."""
    x = 1 - squares()  # the squares are dark: x − ½ is negative in the bright one
    found = corner_model().explain({"x": x}, "xrai", target={"output": "y", "index": 1, "against": 0}).values["x"][0, 0]
    alone = corner_model().explain({"x": x}, "xrai", target=1).values["x"][0, 0]
    assert abs(alone[12:24, 12:24]).max() < 0.05
    np.testing.assert_allclose(found[12:24, 12:24], 0.5, atol=0.1)


def test_every_pixel_has_the_mean_of_its_region() -> None:
    """Σ over pixels of the map is Σ of the evidence: regions share out what integrated gradients found, channels by maximum."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    found = model.explain({"x": x}, "xrai", target=0).values["x"]
    parts = [
        model.explain({"x": x}, "integrated_gradients", target=0, baseline=base).values["x"]
        for base in (np.min(x, axis=(1, 2, 3), keepdims=True), np.max(x, axis=(1, 2, 3), keepdims=True))
    ]
    evidence = np.mean(parts, axis=0).max(axis=1)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    np.testing.assert_allclose(found[:, 0].sum(axis=(1, 2)), evidence.sum(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_channels_last_images_keep_their_layout() -> None:
    """[N, H, W, C]: the map lies over H and W, alike in both channels."""
    found = explainsvc.load(models.nhwc()).explain({"x": numbers(2, 8, 6, 2)}, "xrai", target=0).values["x"]
    assert found.shape == (2, 8, 6, 2)
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    assert np.unique(found[0]).size > 1


def test_a_constant_image_is_one_segment() -> None:
    """No scale to normalise by: no NaN, and the whole image is one region."""
    masks = segments(np.full((20, 30, 3), 7.0))
    assert masks.shape == (6, 600)
    assert masks.all()
    found = explainsvc.load(models.cnn()).explain({"x": np.ones((1, 2, 8, 8), np.float32)}, "xrai").values["x"]
    np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize("text", [
    "g (float[N, 6] x) => (float[N, 6] y) { y = Relu (x) }",
    "g (float[N, 5, 9] x) => (float[N, 1, 9] y) { y = Conv (x, w) }",
    "g (float[N, 5, 9, 9] x) => (float[N, 1, 9, 9] y) { y = Conv (x, v) }",
])  # fmt: skip
def test_only_images_have_segments(text: str) -> None:
    """Columns, signals and maps of many channels are refused, with another method to use."""
    model = explainsvc.load(models.build(text, {"w": models.weights("w", 1, 5, 1), "v": models.weights("v", 1, 5, 1, 1)}))
    shape = [d if isinstance(d, int) else 1 for d in model.inputs[0].shape or ()]
    with pytest.raises(MethodNotApplicable, match="xrai needs") as caught:
        model.explain({"x": numbers(*shape)}, "xrai", target=(0,) * (len(shape) - 1))
    assert caught.value.to_do == "Use integrated_gradients"
