from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods.sobel import spatial_axes
from tests.checks.models import Array, cnn, fixed_edges, numbers, pictures


def edges(plane: Array) -> Array:
    """scipy's Sobel operator on one plane."""
    return np.asarray(np.hypot(ndimage.sobel(plane, 0), ndimage.sobel(plane, 1)))


def test_sobel_is_scipys_on_every_plane() -> None:
    """Channels and items do not mix: each plane gives what scipy.ndimage.sobel gives on it alone."""
    x = pictures(3)
    found = cnn().explain(x, "sobel").values["x"]
    expected = [[edges(plane) for plane in item] for item in x["x"].astype(np.float64)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("item", "axes"),
    [
        ((3, 32, 32), (1, 2)),
        ((32, 32, 3), (0, 1)),
        ((1, 8, 8), (1, 2)),
        ((8, 8, 1), (0, 1)),
        ((28, 28), (0, 1)),
        ((64, 8, 8), (1, 2)),
        ((3, 32, 4), (1, 2)),
        ((12,), None),
        ((64, 1, 1), None),
        ((3, 4, 8, 8), None),
    ],
)
def test_the_spatial_axes(item: tuple[int, ...], axes: tuple[int, int] | None) -> None:
    """The channels are the first axis, unless only the last is as short as colours are."""
    assert spatial_axes(item) == axes


def test_sobel_needs_a_picture() -> None:
    """Rows of numbers have no edges: the error says what was expected."""
    with pytest.raises(MethodNotApplicable, match="two spatial axes"):
        fixed_edges().explain({"x": numbers(2, 12)}, "sobel")


@pytest.mark.parametrize(("distribution", "mean", "std"), [("normal", 0, 1), ("uniform", 0, 3**-0.5), ("bernoulli", 0.5, 0.5)])
def test_random_numbers_follow_their_distribution(distribution: str, mean: float, std: float) -> None:
    """Mean and spread of 12,800 draws, within five standard errors."""
    values = cnn().explain(pictures(100), "random", distribution=distribution).values["x"]
    assert values.shape == (100, 2, 8, 8)
    assert values.mean() == pytest.approx(mean, abs=5 * std / 12800**0.5)
    assert values.std() == pytest.approx(std, rel=0.05)


def test_random_numbers_have_a_seed() -> None:
    """The same seed gives the same map, another seed another one; the input and the model do not matter."""
    model, x = cnn(), pictures(2)
    other = {"x": x["x"] + 1}
    maps = [model.explain(f, "random", seed=s).values["x"] for f, s in ((x, 3), (other, 3), (x, 4))]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(np.corrcoef(maps[0].ravel(), maps[2].ravel())[0, 1]) < 0.3


def test_controls_say_that_they_are_none() -> None:
    """Both carry a caveat that travels with every map."""
    for name in ("random", "sobel"):
        assert "not an explanation" in cnn().explain(pictures(2), name).caveats[0]
        assert explainsvc.methods()[name].limits.startswith("Not an explanation")
