from __future__ import annotations

import numpy as np
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.report import bars, canvas
from explainsvc.report.blocks import EDGE, HEAD
from explainsvc.report.kinds import View
from explainsvc.report.render import attributions_png
from tests.report.pictures import BLUE, GREY, RED, Pixels, decode, places, reads


def drawn(values: list[float], **view: object) -> Pixels:
    """The picture of one method's bars."""
    return decode(attributions_png({"m": values}, kind="bars", **view))


def lines(pixels: Pixels) -> list[tuple[str, int]]:
    """From above: each line's colour and the length of its bar."""
    top, found = canvas.MARGIN + HEAD, []
    while top + bars.ROW <= pixels.shape[0]:
        middle = pixels[top + bars.ROW // 2][None]
        found += [
            (name, len(places(middle, colour))) for name, colour in (("red", RED), ("blue", BLUE)) if len(places(middle, colour))
        ]
        top += bars.ROW
    return found


def test_lines_are_sorted_by_magnitude() -> None:
    """The largest |value| comes first, with its sign's colour and a length in proportion."""
    half = bars.SPAN // 2
    assert lines(drawn([1.0, -4.0, 2.0])) == [("blue", half), ("red", half // 2), ("red", round(half / 4))]


def test_the_sign_is_the_side() -> None:
    """Blue bars end where red ones begin."""
    pixels = drawn([3.0, -3.0])
    assert places(pixels, BLUE)[:, 1].max() < places(pixels, RED)[:, 1].min()


def test_the_numbers_are_the_values_and_the_scale() -> None:
    """Names with the input's values, a number at each bar, and the ends of the scale below."""
    pixels = drawn([0.5, -0.125], names=["bill", "mass"], x=np.array([39.1, 3750.0]))
    assert reads(pixels, "bill = 39.1", canvas.TEXT)
    assert reads(pixels, "mass = 3750", canvas.TEXT)
    assert reads(pixels, "0.5")
    assert reads(pixels, "-0.125")
    assert reads(pixels, "-0.5", ink=canvas.QUIET)
    assert reads(pixels, "scale ±0.5 (the largest |value|); bars start at 0", ink=canvas.QUIET)
    assert not reads(pixels, "0.25")


def test_the_rest_is_summed() -> None:
    """Of 60 columns 40 are drawn, and the sum of the 20 others is printed."""
    values = np.linspace(1.0, 2.0, 60)
    pixels = drawn(values.tolist())
    assert len(lines(pixels)) == 40
    assert reads(pixels, "… 20 others: sum", canvas.TEXT, canvas.QUIET)
    assert reads(pixels, canvas.number(float(values[:20].sum())), ink=canvas.QUIET)


def test_a_column_is_shown_if_it_is_large_for_any_method() -> None:
    """What only the second method finds is among the lines, and every method has its own scale."""
    first, second = np.linspace(1.0, 2.0, 60), np.zeros(60)
    second[0] = 1e-6
    names = [f"c{index}" for index in range(60)]
    pixels = decode(attributions_png({"a": first, "b": second}, kind="bars", names=names))
    assert reads(pixels, "c0", canvas.TEXT)
    left, right = (np.asarray(block.picture) for block in bars.rows({"a": first, "b": second}, View(names=names))[0])
    longest = [max(np.unique(places(each, RED)[:, 0], return_counts=True)[1]) for each in (left, right)]
    assert longest == [bars.SEVERAL_SPAN // 2, bars.SEVERAL_SPAN // 2]


def test_a_fourth_method_starts_a_new_line() -> None:
    """Three panels stand side by side, and each line of panels has the names at its left."""
    rows = bars.rows({name: np.ones(2) for name in "abcd"}, View(names=["one", "two"]))
    assert [len(row) for row in rows] == [3, 1]
    assert all(reads(np.asarray(row[0].picture), "one", canvas.TEXT) for row in rows)
    assert not reads(np.asarray(rows[0][1].picture), "one", canvas.TEXT)


def test_nan_is_grey_and_named() -> None:
    """A value that is not a number fills its line in grey and is counted."""
    block = bars.rows({"m": np.array([np.nan, 1.0])}, View())[0][0]
    grey = places(np.asarray(block.picture), GREY)
    assert grey[:, 1].max() - grey[:, 1].min() == bars.SPAN
    assert grey[:, 0].max() < HEAD + bars.ROW
    assert "1 of 2 values are not finite (grey)" in block.notes


def test_magnitudes_are_said() -> None:
    """mode="absolute" draws |value| to the right, and says so."""
    block = bars.rows({"m": np.array([-2.0, 1.0])}, View(mode="absolute"))[0][0]
    assert len(places(np.asarray(block.picture), BLUE)) == 0
    assert "magnitudes are shown, without their signs" in block.notes


def test_a_long_name_keeps_its_value() -> None:
    """Of a name that is too long the end is left out, and nothing reaches into the bars."""
    block = bars.rows({"m": np.array([-1.0])}, View(np.array([0.25]), names=["w" * 200]))[0][0]
    picture = np.asarray(block.picture)
    assert any(reads(picture, "w" * count + "... = 0.25", canvas.TEXT) for count in range(5, 60))
    assert (picture[HEAD : HEAD + bars.ROW, EDGE + bars.LONGEST_NAME : EDGE + bars.LONGEST_NAME + 20] == 255).all()


def test_misfits_are_refused() -> None:
    """Names, inputs and orders that do not fit are typed errors."""
    with pytest.raises(InvalidInput, match="1 names for 2 values"):
        drawn([1.0, 2.0], names=["a"])
    with pytest.raises(InvalidInput, match="2 values in the input"):
        drawn([1.0, 2.0], x=np.ones(3))
    with pytest.raises(InvalidInput, match="not one row"):
        attributions_png({"m": np.ones((2, 2))}, kind="bars")
