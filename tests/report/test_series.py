from __future__ import annotations

import numpy as np
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.report import canvas, series
from explainsvc.report.blocks import EDGE, HEAD
from explainsvc.report.kinds import View
from explainsvc.report.render import attributions_png
from tests.report.pictures import BLUE, GREY, HALF_RED, RED, WHITE, Pixels, places, reads


def drawn(values: np.ndarray, x: np.ndarray | None = None, **view: object) -> tuple[Pixels, tuple[str, ...]]:
    """The panel of one method, and its notes."""
    block = series.rows({"m": values}, View(x, **view))[0][0]
    return np.asarray(block.picture), block.notes


def left(pixels: Pixels) -> int:
    """The first pixel column right of the frame's left edge."""
    return int(places(pixels[HEAD + 40][None], canvas.LINE)[0, 1]) + 1


def test_the_colour_stands_at_its_position() -> None:
    """Behind a constant line each position has its own value's colour, and 0 is white."""
    values = np.array([1.0, 0.5, 0.0, -1.0])
    pixels, _ = drawn(values, np.zeros(4))
    step = series.WIDTH // 4
    row = pixels[HEAD + 4, left(pixels) :]
    assert [tuple(row[step * index + step // 2].tolist()) for index in range(4)] == [RED, HALF_RED, WHITE, BLUE]
    assert [tuple(row[step * index + step - 1].tolist()) for index in range(4)] == [RED, HALF_RED, WHITE, BLUE]


def test_the_line_runs_from_the_inputs_minimum_to_its_maximum() -> None:
    """The line's dark pixels: high at the largest input, low at the smallest, whose numbers stand beside it."""
    pixels, _ = drawn(np.zeros(3), np.array([-2.0, 7.5, 1.0]))
    dark = places(pixels[HEAD : HEAD + series.ALONE, left(pixels) : left(pixels) + series.WIDTH - 2], canvas.INK)
    step = series.WIDTH // 3
    highest, lowest = dark[dark[:, 0].argmin(), 1], dark[dark[:, 0].argmax(), 1]
    assert abs(highest - 1.5 * step) <= 3
    assert abs(lowest - 0.5 * step) <= 3
    assert reads(pixels, "7.5")
    assert reads(pixels, "-2")


def test_channels_are_rows_wherever_their_axis_is() -> None:
    """[C, T], [T, C] and [C, 1, T] are the same picture, and the note names the axis."""
    rng = np.random.default_rng(0)
    values, x = rng.normal(size=(3, 20)), rng.normal(size=(3, 20))
    first, notes = drawn(values, x)
    turned, other = drawn(values.T, x.T)
    assert np.array_equal(first, turned)
    assert np.array_equal(first, drawn(values[:, None], x[:, None])[0])
    assert "3 channels (axis 0 of [3, 20])" in notes
    assert "3 channels (axis 1 of [20, 3])" in other
    assert reads(first, "ch 2", ink=canvas.QUIET)


def test_constant_channels_show_their_value() -> None:
    """A channel without a range has its one value beside it, alone or among others."""
    assert reads(drawn(np.ones(3), np.full(3, 2.5))[0], "2.5")
    among, _ = drawn(np.ones((2, 6)), np.array([[4.0] * 6, [1, 2, 3, 4, 5, 6]]))
    assert reads(among, "ch 0 = 4", ink=canvas.QUIET)
    assert reads(among, "ch 1", ink=canvas.QUIET)


def test_the_layout_decides_where_shapes_do_not() -> None:
    """[2, 3] has two channels, or three when the layout says that they are last."""
    values = np.ones((2, 3))
    assert "2 channels (axis 0 of [2, 3])" in drawn(values, values)[1]
    assert "3 channels (axis 1 of [2, 3])" in drawn(values, values, layout="nhwc")[1]


@pytest.mark.parametrize("spike", [-3.0, 3.0])
def test_a_spike_among_many_samples_is_seen(spike: float) -> None:
    """Of the positions that share a pixel column the one of largest magnitude is shown, and it is said."""
    values = np.full(20_000, 1e-6)
    values[12_345] = spike
    pixels, notes = drawn(values, np.zeros(20_000), percentile=100.0, mode="signed")
    found = places(pixels[HEAD + 4 : HEAD + 5, : left(pixels) + series.WIDTH], RED if spike > 0 else BLUE)
    assert found[:, 1].tolist() == [left(pixels) + 12_345 * series.WIDTH // 20_000]
    assert f"20000 positions on {series.WIDTH} pixels: each column shows its largest |value|" in notes


def test_without_an_input_values_are_columns_from_zero() -> None:
    """Positive ones stand in red above the middle, negative ones in blue below it; heights are in proportion."""
    pixels, notes = drawn(np.array([2.0, -1.0]))
    red, blue = places(pixels, RED), places(pixels, BLUE)
    middle = HEAD + series.ALONE // 2
    assert red[:, 0].max() < middle < blue[:, 0].min()
    assert red[:, 1].max() < blue[:, 1].min()
    heights = [len(np.unique(each[:, 0])) for each in (red, blue)]
    assert heights == [series.ALONE // 2, series.ALONE // 4]
    assert notes == ("scale ±2 (the largest |value|); columns start at 0",)
    assert reads(pixels, "-2")


@pytest.mark.parametrize("x", [None, np.arange(4.0)])
def test_nan_is_grey_and_named(x: np.ndarray | None) -> None:
    """A position without a number is a grey column, with the line or without."""
    pixels, notes = drawn(np.array([1.0, np.nan, -1.0, 0.5]), x)
    columns = np.unique(places(pixels[HEAD + 4 : HEAD + 5], GREY)[:, 1]) - left(pixels)
    assert (columns.min(), columns.max()) == (series.WIDTH // 4, 2 * series.WIDTH // 4 - 1)
    assert "1 of 4 values are not finite (grey)" in notes


def test_the_last_positions_number_is_whole() -> None:
    """Nothing is cut at the right edge, for any number of positions."""
    for count in (2, 28, 128, 879, 16_000):
        pixels, _ = drawn(np.ones(count), np.ones(count))
        assert reads(pixels, str(count - 1), ink=canvas.QUIET)


@pytest.mark.parametrize(
    ("values", "x"), [(np.ones((2, 2, 2)), None), (np.ones((20, 30)), None), (np.ones(3), np.ones(4)), (np.ones((0, 4)), None)]
)
def test_what_is_no_signal_is_refused(values: np.ndarray, x: np.ndarray | None) -> None:
    """Three axes, too many channels, nothing, and an input of another shape are typed errors."""
    with pytest.raises(InvalidInput):
        attributions_png({"m": values}, kind="series", x=x)


def test_edges_lie_inside() -> None:
    """The panel's frame is whole: its corner is drawn right of the gutter."""
    pixels, _ = drawn(np.ones(5), np.ones(5))
    assert tuple(pixels[HEAD + 40, left(pixels) - EDGE].tolist()) == canvas.LINE
