"""random, sobel, constant and input: what a check reports for maps that do not know the model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import explainsvc
from explainsvc.errors import MethodNotApplicable
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


def test_sobel_in_roars_direction_is_its_code() -> None:
    """scipy.ndimage.sobel(image [H, W, C], axis=0), signed, of every picture, whichever axis holds the channels."""
    x = numbers(2, 3, 8, 6)
    last = np.stack([ndimage.sobel(item.transpose(1, 2, 0).astype(np.float64), axis=0) for item in x])
    graph = "g (float[N, {0}] x) => (float[N, {0}] y) {{ y = Relu (x) }}"
    for shape, picture, expected in (("3, 8, 6", x, last.transpose(0, 3, 1, 2)), ("8, 6, 3", x.transpose(0, 2, 3, 1), last)):
        model = explainsvc.load(models.build(graph.format(shape)))
        found = model.explain({"x": picture}, "sobel", target=(0, 0, 0), variant="roar").values["x"]
        assert found.min() < 0
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_sobel_in_roars_direction_is_scipys_on_a_grey_picture() -> None:
    """Without channels there is nothing to smooth across but columns."""
    x = numbers(2, 8, 6)
    model = explainsvc.load(models.build("g (float[N, 8, 6] x) => (float[N, 8, 6] y) { y = Relu (x) }"))
    found = model.explain({"x": x}, "sobel", target=(0, 0), variant="roar").values["x"]
    np.testing.assert_allclose(found, np.stack([ndimage.sobel(item, axis=0) for item in x]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [1.0, -2.5])
def test_constant_is_one_number(value: float) -> None:
    """The value given, 1 by default, in the input's shape; of integers in float32."""
    options = {} if value == 1.0 else {"value": value}
    found = CNN.explain({"x": numbers(3, 2, 8, 8)}, "constant", target=0, **options).values["x"]
    np.testing.assert_array_equal(found, np.full((3, 2, 8, 8), value, np.float32))
    ids = explainsvc.load(models.embedding()).explain({"ids": np.zeros((2, 5), np.int64)}, "constant", target=0).values["ids"]
    assert ids.dtype == np.float32
    np.testing.assert_array_equal(ids, np.ones((2, 5)))


def test_input_is_the_input() -> None:
    """Signed, as it is; integers as float32, half precision too."""
    x = numbers(3, 2, 8, 8)
    np.testing.assert_array_equal(CNN.explain({"x": x}, "input", target=0).values["x"], x)
    ids = np.arange(10).reshape(2, 5)
    found = explainsvc.load(models.embedding()).explain({"ids": ids}, "input", target=0).values["ids"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ids)
    half = numbers(2, 6).astype(np.float16)
    np.testing.assert_array_equal(explainsvc.load(models.half()).explain({"x": half}, "input", target=0).values["x"], half)


def test_words_are_no_map() -> None:
    """A string input has no values of its own: refused with advice; a constant lies over it."""
    model = explainsvc.load(models.labelled())
    feeds = {"x": numbers(2, 4), "word": np.array(["a", "b"])}
    with pytest.raises(MethodNotApplicable, match='input "word"') as caught:
        model.explain(feeds, "input", target=0, inputs=["word"])
    assert caught.value.to_do
    np.testing.assert_array_equal(model.explain(feeds, "constant", target=0, inputs=["word"]).values["word"], [1, 1])


CONTROLS = ["random", "sobel", "constant", "input"]


@pytest.mark.parametrize("method", CONTROLS)
def test_controls_say_that_they_are(method: str) -> None:
    """Nobody takes one for an explanation: the result says it."""
    found = CNN.explain({"x": numbers(1, 2, 8, 8)}, method)
    assert any("a control" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("method", CONTROLS)
def test_controls_do_not_look_at_the_weights(method: str) -> None:
    """The map is the same for a model of other weights."""
    x = numbers(2, 2, 8, 8)
    maps = [m.explain({"x": x}, method, target=0).values["x"] for m in (CNN, explainsvc.load(models.cnn(bias=False)))]
    np.testing.assert_array_equal(*maps)
