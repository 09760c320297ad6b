from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.report import blocks, canvas, heat
from explainsvc.report.blocks import EDGE, HEAD, Block
from explainsvc.report.colors import as_map, colours, scale_of
from explainsvc.report.kinds import KINDS, View
from explainsvc.report.render import attributions_png
from tests.report.pictures import decode, places, reads

SHAPES = {"image": (1, 9, 7), "tokens": (7,), "bars": (7,), "series": (2, 30), "volume": (1, 3, 5, 5)}


@pytest.mark.parametrize("notes", [(), ("words " * 30, "more")])
def test_blocks_lie_apart_and_whole(notes: tuple[str, ...]) -> None:
    """Blocks of many sizes, each of its own colour: every pixel of every block is in the figure."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 400, (7, 2)).tolist()
    solid = [Block(Image.new("RGB", (width, height), (index, 7, 9)), notes) for index, (width, height) in enumerate(sizes)]
    pixels = np.asarray(blocks.figure("title", blocks.in_rows(solid, 3)))
    corners = []
    for index, (width, height) in enumerate(sizes):
        found = places(pixels, (index, 7, 9))
        assert len(found) == width * height
        assert (found.max(0) - found.min(0) + 1).tolist() == [height, width]
        corners.append(found.min(0))
    for index, (width, height) in enumerate(sizes[:4]):
        if index % 3 < 2:
            assert corners[index + 1][1] >= corners[index][1] + width + blocks.GAP
        below = corners[index][0] + height + blocks.NOTE_LINE * len(solid[index].lines())
        assert corners[index + 3][0] >= below + blocks.ROW_GAP


def test_notes_are_wrapped_by_their_width() -> None:
    """No line is longer than asked, no word is lost, and a word that is too long ends in an ellipsis."""
    rng = np.random.default_rng(1)
    note = " ".join("Wim"[int(kind)] * int(count) for kind, count in rng.integers((0, 1), (3, 9), (80, 2)))
    lines = canvas.wrap([note, "x" * 400], canvas.SMALL, 200)
    assert max(canvas.length(line, canvas.SMALL) for line in lines) <= 200
    assert " ".join(lines[:-1]) == note
    assert lines[-1].endswith("...")


def test_notes_and_titles_keep_inside() -> None:
    """However long the words, the sheet's margins stay white."""
    block = Block(Image.new("RGB", (120, 40), (1, 2, 3)), ("many words in a long note " * 9, "x" * 400))
    pixels = np.asarray(blocks.figure("a title that goes on " * 20, [[block]]))
    assert (pixels[:, -canvas.MARGIN + EDGE :] == 255).all()
    assert (pixels[:, : canvas.MARGIN - EDGE] == 255).all()
    assert (pixels[-6:] == 255).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_puts_methods_side_by_side(kind: str) -> None:
    """Each method has its name, the picture is larger than one method's, and the margins stay white."""
    values = np.random.default_rng(1).normal(size=SHAPES[kind])
    alone = decode(attributions_png({"gradient": values}, kind=kind))
    both = decode(attributions_png({"gradient": values, "lrp_epsilon_plus_flat": 1e6 * values}, kind=kind, title="y[3]"))
    assert both.shape[0] * both.shape[1] > 1.5 * alone.shape[0] * alone.shape[1]
    assert reads(both, "gradient", ink=canvas.QUIET)
    assert reads(both, "lrp_epsilon_plus_flat", ink=canvas.QUIET)
    for pixels in (alone, both):
        assert (pixels[:, -8:] == 255).all()
        assert (pixels[-6:] == 255).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_is_written_under_every_picture(kind: str) -> None:
    """The limit, where it comes from, and what zero looks like."""
    values = np.zeros(SHAPES[kind])
    values.flat[1], values.flat[2] = 0.25, -0.125
    words = {"bars": "bars start at 0", "series": "columns start at 0"}.get(kind, "0 is white")
    pixels = decode(attributions_png({"m": values}, kind=kind, percentile=100.0))
    assert reads(pixels, f"scale ±0.25 (the largest |value|); {words}", ink=canvas.QUIET)


def test_maps_have_their_own_scale_and_one_size() -> None:
    """A map and a thousandth of it are the same pixels beside different numbers, in rows of at most three panels."""
    values = np.random.default_rng(2).normal(size=(3, 10, 12))
    rows = heat.rows({"a": values, "b": values / 1000, "c": values}, View(values, mode="signed"))
    assert [len(row) for row in rows] == [2, 2]
    (_, first), (second, _) = rows
    panel = slice(HEAD, HEAD + 270), slice(EDGE, EDGE + 324)
    assert np.array_equal(np.asarray(first.picture)[panel], np.asarray(second.picture)[panel])
    limit = np.percentile(np.abs(values.sum(0)), 99)
    assert first.notes[0] == f"scale ±{limit:.3g} (99th percentile of |values|); 0 has no colour"
    assert second.notes[0] == f"scale ±{limit / 1000:.3g} (99th percentile of |values|); 0 has no colour"


def test_a_pixel_of_the_map_has_the_colour_of_its_value() -> None:
    """Every cell of the panel is the colour of value / scale, without an input beneath."""
    values = np.random.default_rng(3).normal(size=(8, 8))
    picture = np.asarray(heat.rows({"m": values}, View())[0][0].picture)
    panel = picture[HEAD : HEAD + 320 : 40, EDGE : EDGE + 320 : 40]
    assert np.array_equal(panel, colours(as_map(values), scale_of(values)))


def test_the_input_is_shown_in_the_maps_layout() -> None:
    """[3, 5, 3] with channels last: the panel beside the map is that image, not the one of its transpose."""
    image = np.random.default_rng(4).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    block = heat.rows({"m": np.ones((3, 5, 3))}, View(image, layout="nhwc"))[0][0]
    panel = np.asarray(block.picture)[HEAD : HEAD + 3 * 64 : 64, EDGE : EDGE + 320 : 64]
    assert np.array_equal(panel, image)


def test_comparisons_are_signed() -> None:
    """Beside another method a map without negative values keeps the colours that mean for and against."""
    values = np.linspace(0.0, 1.0, 6)
    both = attributions_png({"a": values, "b": -values}, kind="tokens")
    assert both == attributions_png({"a": values, "b": -values}, kind="tokens", mode="signed")
    assert both != attributions_png({"a": values, "b": -values}, kind="tokens", mode="absolute")


@pytest.mark.parametrize("maps", [{}, {"a": np.ones(3), "b": np.ones(4)}])
def test_maps_of_different_items_are_refused(maps: dict[str, np.ndarray]) -> None:
    """No map, or maps of several shapes, are a typed error that lists them."""
    with pytest.raises(InvalidInput, match="not of one shape"):
        attributions_png(maps)


def test_wrong_options_are_refused() -> None:
    """Kind, mode, percentile and layout are checked."""
    for wrong in ({"kind": "pie"}, {"mode": "rainbow"}, {"percentile": 0.0}, {"layout": "WHC"}):
        with pytest.raises(InvalidParameter):
            attributions_png({"m": np.ones((2, 20))}, **({"kind": "image"} | wrong))
