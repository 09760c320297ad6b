from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.report.colors import NOT_FINITE, as_map, as_picture, colours, overlay, resize, scale_of


def luma(rgb: np.ndarray) -> np.ndarray:
    """BT.601 luma of RGB [..., 3]."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def test_the_largest_positive_value_is_red_and_the_largest_negative_one_blue() -> None:
    """The ends of the signed scale are the documented ColorBrewer colours."""
    plane = np.array([[1.0, 0.0, -1.0]])
    rgb = colours(plane, scale_of(plane, percentile=100.0))
    assert rgb.tolist() == [[[0xB2, 0x18, 0x2B], [255, 255, 255], [0x21, 0x66, 0xAC]]]


def test_the_signed_scale_is_symmetric_even_when_the_map_is_not() -> None:
    """A value v and −v are equally strong in lightness, whatever the map's own minimum is."""
    plane = np.array([[-0.1, 1.0]])
    scale = scale_of(plane, percentile=100.0)
    shares = np.linspace(0.0, 1.0, 21)
    positive, negative = luma(colours(shares, scale)), luma(colours(-shares, scale))
    assert scale.limit == 1.0
    assert np.abs(positive - negative).max() < 26  # of 255: the two ramps are matched by eye, not by formula
    assert (np.diff(positive) < 0).all()
    assert (np.diff(negative) < 0).all()


def test_colour_depends_on_the_share_of_the_limit_only() -> None:
    """Scaling a map by a positive constant draws the same picture."""
    plane = np.random.default_rng(0).normal(size=(6, 5))
    small = plane * 1e-12
    assert np.array_equal(colours(plane, scale_of(plane)), colours(small, scale_of(small)))


def test_a_map_without_negative_values_is_sequential_and_zero_is_white() -> None:
    """Blue is never used where nothing is negative, and lightness falls with the value."""
    plane = np.linspace(0.0, 2.0, 11)[None]
    scale = scale_of(plane, percentile=100.0)
    rgb = colours(plane, scale)
    assert not scale.signed
    assert rgb[0, 0].tolist() == [255, 255, 255]
    assert (np.diff(luma(rgb[0])) < 0).all()
    assert (rgb[..., 0] >= rgb[..., 2]).all()


def test_absolute_mode_draws_magnitudes() -> None:
    """A value and its negative get the same colour."""
    plane = np.array([[0.5, -0.5]])
    rgb = colours(plane, scale_of(plane, "absolute"))
    assert rgb[0, 0].tolist() == rgb[0, 1].tolist()


def test_values_beyond_the_percentile_are_counted_in_a_note() -> None:
    """One outlier of 1000 neither sets the scale nor disappears silently."""
    plane = np.ones((10, 100))
    plane[0, :50] = 0.5
    plane[3, 4] = 900.0
    scale = scale_of(plane, percentile=99.0)
    assert scale.limit == 1.0
    assert scale.clipped
    assert "1 of 1000 values lie beyond" in scale.notes[0]
    assert "900" in scale.notes[0]


def test_a_sparse_map_is_scaled_by_its_largest_value() -> None:
    """A zero percentile would divide by zero; the largest value is used, and nothing is clipped."""
    plane = np.zeros((20, 20))
    plane[0, 0] = -3.0
    scale = scale_of(plane)
    assert (scale.limit, scale.clipped) == (3.0, False)


def test_values_that_are_not_finite_are_grey_and_named() -> None:
    """NaN and infinity change no other pixel's colour."""
    plane = np.array([[1.0, np.nan, np.inf, -1.0]])
    scale = scale_of(plane, percentile=100.0)
    rgb = colours(plane, scale)
    assert scale.limit == 1.0
    assert rgb[0, 1].tolist() == rgb[0, 2].tolist() == list(NOT_FINITE)
    assert scale.notes == ("2 of 4 values are not finite (grey)",)


@pytest.mark.parametrize(("value", "words"), [(0.0, "every value is zero"), (0.25, "every value is 0.25")])
def test_a_constant_map_says_so(value: float, words: str) -> None:
    """A picture of one colour carries the note that makes it readable."""
    assert words in scale_of(np.full((4, 4), value)).notes[0]


def test_a_map_of_nothing_but_nan_still_has_a_scale() -> None:
    """Nothing finite: a unit scale, and every value is named."""
    scale = scale_of(np.full((2, 2), np.nan))
    assert (scale.limit, scale.notes) == (1.0, ("4 of 4 values are not finite (grey)",))


def test_channels_are_summed_wherever_they_are() -> None:
    """Channels first, channels last and leading ones give the same map, and the total is kept."""
    values = np.random.default_rng(1).normal(size=(3, 7, 9))
    plane = as_map(values)
    assert plane.shape == (7, 9)
    assert np.isclose(plane.sum(), values.sum())
    assert np.allclose(as_map(values.transpose(1, 2, 0)), plane)
    assert np.allclose(as_map(values[None, None]), plane)
    assert np.allclose(as_map(values, "nchw"), plane)


def test_two_channels_last_are_channels() -> None:
    """An axis of at most four entries is the channels, first or last; of two such axes the first, of none too."""
    values = np.random.default_rng(2).normal(size=(8, 6, 2))
    assert np.allclose(as_map(values), values.sum(2))
    assert as_map(values.transpose(2, 0, 1)).shape == (8, 6)
    assert as_map(np.ones((64, 14, 13))).shape == (14, 13)


def test_a_layout_decides_where_shapes_do_not() -> None:
    """(3, 5, 3) is channels first by default, and channels last when the caller says so."""
    values = np.arange(45.0).reshape(3, 5, 3)
    assert as_map(values).shape == (5, 3)
    assert as_map(values, "HWC").shape == (3, 5)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (5,), (0, 4), ()])
def test_what_is_not_one_picture_is_refused(shape: tuple[int, ...]) -> None:
    """A batch, a row, nothing and a scalar are typed errors that name the shape."""
    with pytest.raises(InvalidInput, match="is not one picture"):
        as_map(np.zeros(shape))


@pytest.mark.parametrize("wrong", [{"mode": "rainbow"}, {"percentile": 0.0}, {"percentile": 101.0}])
def test_wrong_scale_options_are_refused(wrong: dict[str, Any]) -> None:
    """Unknown modes and impossible percentiles are typed errors."""
    with pytest.raises(InvalidParameter):
        scale_of(np.ones((2, 2)), **wrong)


def test_pictures_of_bytes_and_of_intensities_agree() -> None:
    """uint8 passes through, floats in [0, 1] are its 255th parts, and grey becomes RGB."""
    pixels = np.random.default_rng(2).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert np.array_equal(as_picture(pixels), pixels)
    assert np.array_equal(as_picture(pixels / 255.0), pixels)
    assert np.array_equal(as_picture(pixels[..., 0]), np.repeat(pixels[..., :1], 3, -1))


def test_a_normalised_picture_is_stretched_to_its_own_range() -> None:
    """A network's input has negative values; its darkest becomes black and its lightest white."""
    picture = as_picture(np.array([[-2.0, 0.0, 2.0]]))
    assert picture[0, :, 0].tolist() == [0, 128, 255]


def test_the_overlay_keeps_zero_neutral_and_the_hue() -> None:
    """White on any picture stays grey without a tint; red stays red."""
    white, red = np.full((1, 2, 3), 255, np.uint8), np.full((1, 2, 3), (178, 24, 43), np.uint8)
    picture = np.array([[[0, 0, 0], [10, 200, 90]]], np.uint8)
    neutral, coloured = overlay(white, picture), overlay(red, picture)
    assert (neutral == neutral[..., :1]).all()
    assert (coloured[..., 0] > 3 * coloured[..., 2]).all()


def test_enlarging_keeps_squares() -> None:
    """A 2x2 map enlarged eightfold has exactly its four colours in four quadrants."""
    rgb = np.random.default_rng(3).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    assert np.array_equal(resize(rgb, 16, 16), rgb.repeat(8, 0).repeat(8, 1))
