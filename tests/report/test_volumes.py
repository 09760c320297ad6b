from __future__ import annotations

import numpy as np
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.report import canvas, volumes
from explainsvc.report.blocks import EDGE, HEAD, Block
from explainsvc.report.kinds import View
from explainsvc.report.render import attributions_png
from tests.report.pictures import BLUE, RED, places, reads


def blocks(values: np.ndarray, x: np.ndarray | None = None, **view: object) -> list[Block]:
    """The blocks of one method: the input's, if there is one, and the map's."""
    return [row[0] for row in volumes.rows({"m": values}, View(x, **view))]


def tile(index: int, side: int, columns: int) -> tuple[int, int]:
    """The upper left pixel of a slice."""
    line, column = divmod(index, columns)
    return HEAD + line * (side + volumes.LABEL + volumes.GAP) + volumes.LABEL, EDGE + column * (side + volumes.GAP)


def test_a_slice_shows_its_own_values_at_its_place() -> None:
    """One positive and one negative cell: red and blue squares in their slices, at their rows and columns."""
    values = np.zeros((1, 12, 8, 8))
    values[0, 2, 1, 5], values[0, 9, 6, 0] = 2.0, -2.0
    picture = np.asarray(blocks(values)[0].picture)
    factor, side = 12, 96
    columns = (volumes.WIDTH + volumes.GAP) // (side + volumes.GAP)
    for colour, index, row, column in ((RED, 2, 1, 5), (BLUE, 9, 6, 0)):
        top, left = tile(index, side, columns)
        found = places(picture[:, : left + side + 1], colour)
        assert len(found) == factor * factor
        assert found.min(0).tolist() == [top + row * factor, left + column * factor]


def test_channels_first_and_last_are_the_same_picture() -> None:
    """[C, D, H, W] and [D, H, W, C] differ in the note about the axis only; the channels are summed."""
    values = np.random.default_rng(0).normal(size=(3, 7, 6, 5))
    first, last = blocks(values)[0], blocks(np.moveaxis(values, 0, -1))[0]
    assert np.array_equal(np.asarray(first.picture), np.asarray(last.picture))
    assert "the sum over 3 channels (axis 0 of [3, 7, 6, 5]) is shown" in first.notes
    assert "the sum over 3 channels (axis 3 of [7, 6, 5, 3]) is shown" in last.notes
    summed = blocks(values.sum(0))[0]
    assert np.array_equal(np.asarray(summed.picture), np.asarray(first.picture))


def test_the_layout_decides_where_shapes_do_not() -> None:
    """[4, 5, 6, 3] has four channels, or three when the layout says that they are last."""
    values = np.random.default_rng(1).normal(size=(4, 5, 6, 3))
    assert "the sum over 4 channels (axis 0 of [4, 5, 6, 3]) is shown" in blocks(values)[0].notes
    assert "the sum over 3 channels (axis 3 of [4, 5, 6, 3]) is shown" in blocks(values, layout="nhwc")[0].notes


def test_slices_are_numbered_and_the_input_stands_above() -> None:
    """Every slice has its number; the input's slices share one range of grey, black to white."""
    x = np.linspace(0, 1, 5 * 16).reshape(1, 5, 4, 4)
    above, below = blocks(np.ones((1, 5, 4, 4)), x)
    for block in (above, below):
        picture = np.asarray(block.picture)
        assert reads(picture, "slice 0", volumes.LABEL_SIZE, canvas.QUIET)
        assert all(reads(picture, str(index), volumes.LABEL_SIZE, canvas.QUIET) for index in range(1, 5))
    picture = np.asarray(above.picture)
    top, left = tile(4, 96, 8)
    assert picture[tile(0, 96, 8)].tolist() == [0, 0, 0]
    assert picture[top + 95, left + 95].tolist() == [255, 255, 255]


def test_slices_that_are_left_out_are_counted() -> None:
    """Of 200 slices 48 are drawn, the ends among them, and the slice of the largest value is named."""
    values = np.zeros((200, 3, 3))
    values[57, 1, 1] = -1.0
    notes = blocks(values)[0].notes
    assert "48 of 200 slices are drawn, at even distances" in notes
    assert "the largest |value| lies in slice 57" in notes
    drawn = volumes.drawn(200)
    assert (len(drawn), drawn[0], drawn[-1]) == (48, 0, 199)
    assert len(set(drawn)) == 48


def test_methods_are_told_apart() -> None:
    """Each method has its block, its name and its own scale."""
    values = np.random.default_rng(2).normal(size=(3, 4, 4))
    first, second = (row[0] for row in volumes.rows({"one": values, "two": values / 8}, View()))
    assert reads(np.asarray(first.picture), "one", ink=canvas.QUIET)
    assert reads(np.asarray(second.picture), "two", ink=canvas.QUIET)
    assert first.notes[0] != second.notes[0]


@pytest.mark.parametrize(("shape", "x"), [((4, 4), None), ((0, 3, 3), None), ((1, 2, 3, 3), np.ones((2, 3, 3)))])
def test_what_is_no_volume_is_refused(shape: tuple[int, ...], x: np.ndarray | None) -> None:
    """A plane, nothing, and an input of another shape are typed errors."""
    with pytest.raises(InvalidInput):
        attributions_png({"m": np.ones(shape)}, kind="volume", x=x)
