from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.report import blocks, canvas, strips
from explainsvc.report.kinds import View
from explainsvc.report.render import attributions_png
from tests.report.pictures import BLUE, GREY, HALF_BLUE, RED, WHITE, decode, reads

X, Y = canvas.MARGIN - blocks.EDGE, canvas.MARGIN
"""Where the first block lies in a figure without title."""


def inside(box: strips.Box) -> tuple[int, int]:
    """(row, column) of a pixel of a box that no letter reaches."""
    return Y + blocks.HEAD + box.top + 3, X + blocks.EDGE + box.left + 3


def test_a_box_has_the_colour_of_its_value() -> None:
    """1 and −1 of a scale of 1 are the ends of the colour scale, −0.5 its middle, and 0 is white."""
    pixels = decode(attributions_png({"m": [1.0, -0.5, 0.0, -1.0]}, kind="tokens", tokens=list("abcd")))
    found = [tuple(pixels[inside(box)].tolist()) for box in strips.layout(list("abcd"), numbers=True)[0]]
    assert found == [RED, HALF_BLUE, WHITE, BLUE]


def test_text_and_value_stand_in_the_box() -> None:
    """The given token, and below it its value with three digits."""
    pixels = decode(attributions_png({"m": [0.0, -0.012345]}, tokens=["zero", "tiny"]))
    assert reads(pixels, "zero", canvas.TEXT)
    assert reads(pixels, "scale ±0.0123 (the largest |value|);", canvas.SMALL, canvas.QUIET)
    assert reads(pixels, "-0.0123", canvas.SMALL)


def test_ids_stand_for_missing_tokens() -> None:
    """Without token strings a box shows the input's id."""
    ids = np.array([101, 7592, 102])
    values = {"m": np.array([0.1, -0.2, 0.3])}
    assert attributions_png(values, x=ids) == attributions_png(values, tokens=["101", "7592", "102"])


def test_embeddings_are_summed_and_it_is_said() -> None:
    """[T, E] is drawn as its sum over E; where E is the first axis, the tokens tell."""
    values = np.random.default_rng(0).normal(size=(5, 3))
    block = strips.rows({"m": values}, View())[0][0]
    assert "the sum over 3 entries of each position (axis 1 of [5, 3]) is shown" in block.notes
    flat = strips.rows({"m": values.sum(1)}, View())[0][0]
    assert np.array_equal(np.asarray(block.picture), np.asarray(flat.picture))
    turned = strips.rows({"m": values.T}, View(tokens=list("01234")))[0][0]
    assert np.array_equal(np.asarray(turned.picture), np.asarray(flat.picture))


def test_one_value_for_a_whole_embedding_is_shown_once() -> None:
    """A method that gives a token one value for all its entries is not multiplied by their number."""
    row = np.array([0.5, -0.25])
    block = strips.rows({"m": np.repeat(row[:, None], 70, 1)}, View())[0][0]
    assert np.array_equal(np.asarray(block.picture), np.asarray(strips.rows({"m": row}, View())[0][0].picture))
    assert "the same in all 70 entries of each position (axis 1 of [2, 70])" in block.notes


def test_boxes_neither_overlap_nor_leave_the_strip() -> None:
    """Over many texts: boxes of a line follow one another, lines too, and every text fits into its box."""
    rng = np.random.default_rng(1)
    texts = ["w" * int(length) for length in rng.integers(1, 24, 400)]
    for numbers in (True, False):
        boxes, height = strips.layout(texts, numbers)
        tall = strips.BOX_WITH_NUMBER if numbers else strips.BOX
        for before, after in pairwise(boxes):
            beside = after.top == before.top and after.left > before.left + before.width
            assert beside or after.top > before.top + tall
        assert all(box.left + box.width <= strips.WIDTH and box.top + tall <= height for box in boxes)
        assert all(canvas.length(box.text, canvas.TEXT) < box.width for box in boxes)


@pytest.mark.parametrize("value", [-0.000888, -8.88e-88, -888000.0, 8.88e-05])
def test_values_fit_into_the_smallest_box(value: float) -> None:
    """The longest spelling of three digits is narrower than a box with one letter."""
    assert canvas.length(canvas.number(value), strips.TINY) < strips.LEAST_WIDTH_WITH_NUMBER - 4


def test_methods_share_the_layout_but_not_the_scale() -> None:
    """A token stands at the same place in every strip; equal shares have equal colours at scales of 1 and 1000."""
    row = np.linspace(-1, 1, 40)
    first, second = (line[0] for line in strips.rows({"a": row, "b": 1000 * row}, View(mode="signed")))
    boxes, _ = strips.layout([str(index) for index in range(40)], numbers=True)
    for box in boxes:
        row_, column = blocks.HEAD + box.top + 3, blocks.EDGE + box.left + 3
        assert np.array_equal(np.asarray(first.picture)[row_, column], np.asarray(second.picture)[row_, column])
    assert (first.notes[0], second.notes[0]) == tuple(f"scale ±{n} (the largest |value|); 0 is white" for n in ("1", "1e+03"))


def test_nan_is_grey_and_counted() -> None:
    """A value that is not a number is no colour of the scale, and the note says how many there are."""
    block = strips.rows({"m": np.array([1.0, np.nan])}, View(tokens=["a", "b"]))[0][0]
    box = strips.layout(["a", "b"], numbers=True)[0][1]
    assert tuple(np.asarray(block.picture)[blocks.HEAD + box.top + 3, blocks.EDGE + box.left + 3].tolist()) == GREY
    assert "1 of 2 values are not finite (grey)" in block.notes


@pytest.mark.parametrize(
    ("values", "tokens"),
    [(np.ones(3), ["a"]), (np.ones((3, 2)), list("abcd")), (np.ones((2, 3, 4)), None), (np.ones(5000), None), (np.ones(0), None)],
)
def test_what_is_no_sequence_is_refused(values: np.ndarray, tokens: list[str] | None) -> None:
    """A wrong number of tokens, three axes, nothing, or more tokens than can be read are typed errors."""
    with pytest.raises(InvalidInput):
        attributions_png({"m": values}, kind="tokens", tokens=tokens)


def test_every_letter_can_be_read() -> None:
    """What the font lacks is spelt in ASCII or escaped; blanks alone are quoted."""
    assert canvas.legible("a − b ≥ Ġthe ▁cat café 你\n") == "a - b >= _the _cat caf\\xe9 \\u4f60\\n"
    assert attributions_png({"m": [1.0, 2.0]}, tokens=[" ", ""]) == attributions_png({"m": [1.0, 2.0]}, tokens=['" "', '""'])
