from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.report import bars, blocks, canvas, render
from explainsvc.report.colors import Pixels, colours, scale_of
from tests.report.pictures import BLUE, RED, decode, places


def test_the_map_is_drawn_where_it_is() -> None:
    """The strongest positive cell is a red square at its place in the panel, left of the colour bar."""
    values = np.zeros((1, 8, 8))
    values[0, 6, 1], values[0, 1, 6] = 4.0, -4.0
    pixels = decode(render.heatmap_png(values, percentile=100.0))
    side = 320 // 8
    panel = places(pixels[:, : canvas.MARGIN + 320], RED)
    top, left = panel.min(0)
    assert len(panel) == side * side
    assert left == canvas.MARGIN + side
    blue = places(pixels[:, : canvas.MARGIN + 320], BLUE).min(0)
    assert (blue - (top, left)).tolist() == [-5 * side, 5 * side]


def test_the_colour_bar_is_the_scale() -> None:
    """Down the middle of the bar: red at the top, white in the middle, blue at the bottom."""
    values = np.array([[1.0, -1.0], [0.2, 0.0]])
    pixels = decode(render.heatmap_png(values, percentile=100.0))
    column = pixels[:, canvas.MARGIN + 320 + blocks.GAP + canvas.BAR_WIDTH // 2]
    red, blue = places(column[None], RED)[:, 1], places(column[None], BLUE)[:, 1]
    middle = (red.min() + blue.max()) // 2
    assert blue.max() - red.min() == 319
    assert (column[middle] > 250).all()


def test_with_an_image_the_input_stands_beside_the_map() -> None:
    """The left panel is the input itself, enlarged by whole pixels."""
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = decode(render.heatmap_png(np.ones((3, 8, 8)), image=image, title="both"))
    top = canvas.MARGIN + canvas.TITLE + 14 + canvas.TEXT + 10
    panel = pixels[top : top + 320, canvas.MARGIN : canvas.MARGIN + 320]
    assert np.array_equal(panel[::40, ::40], image)


@pytest.mark.parametrize("values", [np.full((8, 8), np.nan), np.zeros((1, 1, 8, 8)), np.ones((3, 9, 17)), np.eye(2)])
def test_odd_maps_are_drawn(values: np.ndarray) -> None:
    """NaN, zero, constant and tiny maps give a picture, not an error or a warning."""
    assert decode(render.heatmap_png(values, title="odd")).size > 0


def test_a_note_makes_the_figure_taller() -> None:
    """What is odd about a map is written below it."""
    ramp = np.linspace(-1, 1, 64).reshape(8, 8)
    plain, broken = ramp.copy(), ramp.copy()
    broken[0, 0] = np.nan
    heights = [decode(render.heatmap_png(each, percentile=100.0)).shape[0] for each in (plain, broken)]
    assert heights[1] > heights[0]


def test_large_maps_are_reduced_and_flat_ones_keep_their_shape() -> None:
    """A 2000-pixel map fits, with its aspect ratio."""
    pixels = decode(render.panel_png(np.ones((1000, 2000)), side=200))
    assert pixels.shape == (100, 200, 3)


def test_panels_use_the_symmetric_scale() -> None:
    """Panels of a grid are signed, so that red means the same in every column."""
    values = np.linspace(0, 1, 16).reshape(4, 4)
    expected = colours(values, scale_of(values, "signed"))
    assert np.array_equal(decode(render.panel_png(values, side=4)), expected)


def table(values: npt.NDArray[np.float64], names: list[str] | None) -> Pixels:
    """The picture that a user gets of one item of a table."""
    return decode(render.attributions_png({"m": values}, kind="bars", names=names))


def test_bars_are_as_long_as_their_values() -> None:
    """Lengths are in proportion; positive bars are red and to the right of negative blue ones."""
    pixels = table(np.array([[2.0, 1.0, -2.0]]), ["a", "b", "c"])
    red, blue = places(pixels, RED), places(pixels, BLUE)
    lengths = np.unique(red[:, 0], return_counts=True)[1]
    assert blue[:, 1].max() <= red[:, 1].min() + 1
    assert sorted(set(lengths.tolist())) == [bars.SPAN // 4, bars.SPAN // 2]


def test_many_columns_are_cut_to_the_largest() -> None:
    """Of 300 columns 40 are drawn, so the picture stays readable."""
    few = table(np.arange(40.0), [str(i) for i in range(40)])
    many = table(np.arange(300.0), [str(i) for i in range(300)])
    assert 0 < many.shape[0] - few.shape[0] < 60


def test_a_signal_is_drawn_over_its_positions() -> None:
    """A row drawn as a series: a positive first half is red at the left, the rest blue at the right."""
    pixels = decode(render.attributions_png({"m": np.r_[np.ones(50), -np.ones(50)]}, kind="series"))
    assert places(pixels, RED)[:, 1].max() < places(pixels, BLUE)[:, 1].min()


@pytest.mark.parametrize(("values", "names"), [(np.ones((2, 3)), None), (np.ones(0), None), (np.ones(3), ["a"])])
def test_bars_of_something_else_are_refused(values: np.ndarray, names: list[str] | None) -> None:
    """Several rows, no values and a wrong number of names are typed errors."""
    with pytest.raises(InvalidInput):
        table(values, names)


def test_bars_with_nan_say_so() -> None:
    """A value that is not a number gets its word, not a bar."""
    pixels = table(np.array([np.nan, 1.0]), ["a", "b"])
    assert len(places(pixels, RED)) == len(places(table(np.array([0.0, 1.0]), ["a", "b"]), RED))


def test_a_grid_has_a_tile_for_every_input_and_method() -> None:
    """Each tile shows its own map: the red cell wanders with the method."""
    maps = {f"method_{index}": np.eye(1, 16, index).reshape(4, 4) for index in range(3)}
    rows = [render.GridRow("one\nmore", np.zeros((4, 4)), maps)] * 2
    pixels = decode(render.grid_png(rows, title="grid", side=40))
    red, green, blue = (round(channel * 0.8) for channel in RED)  # over the palest black
    assert len(places(pixels, (red, green, blue))) == 2 * 3 * 10 * 10
    assert len(places(pixels, (0, 0, 0))) >= 2 * 40 * 40


def test_long_titles_stay_inside_the_picture() -> None:
    """A title is cut with an ellipsis at the figure's width."""
    assert canvas.fit("word " * 200, canvas.TITLE, 300).endswith("...")
    assert canvas.font(canvas.TITLE).getlength(canvas.fit("word " * 200, canvas.TITLE, 300)) <= 300
