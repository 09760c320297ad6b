r"""Writing and placing on a white sheet: text, panels, colour bars, PNG bytes. Pillow only.

Pillow's embedded font holds little more than ASCII. What it lacks is spelt in ASCII or escaped (``\u4f60``), so that
no text turns into empty boxes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from explainsvc.report.colors import Pixels, Scale, colours

INK = (32, 36, 40)
QUIET = (96, 102, 110)
LINE = (188, 193, 199)
TITLE, TEXT, SMALL = 22, 17, 15
LONGEST_TEXT = 300
"""Letters that are measured at all: names come from files of any make."""
MARGIN = 24
BAR_WIDTH = 22
LEAST_BAR = 96
"""Height that five numbers beside a colour bar need."""
SPELT = {
    "−": "-", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "×": "x", "→": "->", "≤": "<=", "≥": ">=",
    "\u00a0": " ", "Ġ": "_", "▁": "_", "Ċ": "\\n",
}  # fmt: skip
"""Signs that the font lacks, in ASCII; Ġ, Ċ and ▁ are how tokenizers write a space and a line's end."""

Point = tuple[int, int]


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's embedded font: pictures look alike on every machine, and none need be installed."""
    return ImageFont.load_default(size)


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white picture and its pen."""
    picture = Image.new("RGB", (width, height), "white")
    return picture, ImageDraw.Draw(picture)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pixels(encoded: bytes) -> Pixels:
    """The RGB pixels of an image file."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def number(value: float) -> str:
    """At most three significant digits."""
    return f"{value:.3g}" if value else "0"


def legible(text: str) -> str:
    """The text in letters that the font has; others are spelt in ASCII or escaped as Python does."""
    return "".join(letter if _drawable(letter) else SPELT.get(letter) or _escaped(letter) for letter in text)


@cache
def _drawable(letter: str) -> bool:
    """Whether the font has more for a letter than its box for unknown ones (U+FFFF is never a letter)."""
    return letter.isprintable() and bytes(font(TEXT).getmask(letter)) != bytes(font(TEXT).getmask("\uffff"))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def length(text: str, size: int) -> int:
    """Pixels that a line takes."""
    return math.ceil(font(size).getlength(text))


def fit(text: str, size: int, width: float) -> str:
    """The text on one line, or as much of it as the width holds and an ellipsis."""
    plain = legible(" ".join(text[:LONGEST_TEXT].split()))
    if len(text) <= LONGEST_TEXT and length(plain, size) <= width:
        return plain
    while plain and length(plain + "...", size) > width:
        plain = plain[:-1]
    return plain + "..."


def write(
    pen: ImageDraw.ImageDraw,
    at: Point,
    text: str,
    size: int,
    width: float,
    ink: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    """One line of text that keeps within the width."""
    pen.text(at, fit(text, size, width), ink, font(size), anchor=anchor)


def wrap(notes: Iterable[str], size: int, width: float) -> list[str]:
    """Lines of at most the given width."""
    return [line for note in notes for line in _lines(legible(note).split(), size, width)]


def _lines(words: Sequence[str], size: int, width: float) -> list[str]:
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and length(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fit(word, size, width))
    return lines


def paste(picture: Image.Image, panel: Pixels, at: Point) -> None:
    """A panel with a hairline frame, so that a white map still has an edge."""
    height, width = panel.shape[:2]
    picture.paste(Image.fromarray(panel), at)
    ImageDraw.Draw(picture).rectangle((at[0] - 1, at[1] - 1, at[0] + width, at[1] + height), outline=LINE)


def bar_space(scale: Scale, unit: str) -> int:
    """Width of a colour bar with its numbers and the unit above it."""
    numbers = max(length(text, SMALL) for _, text in _marks(scale))
    return max(BAR_WIDTH + 10 + numbers, length(unit, SMALL)) + 2


def colour_bar(picture: Image.Image, scale: Scale, at: Point, height: int, unit: str) -> None:
    """The scale as colours with five numbers; the unit stands above; clipped ends carry ``>=`` or ``<=``."""
    pen = ImageDraw.Draw(picture)
    marks = _marks(scale)
    ladder = np.linspace(marks[0][0], marks[-1][0], height)[:, None].repeat(BAR_WIDTH, 1)
    paste(picture, colours(ladder, scale), at)
    write(pen, (at[0], at[1] - 12), unit, SMALL, bar_space(scale, unit), QUIET, "ls")
    for step, (_, text) in enumerate(marks):
        y = at[1] + round((height - 1) * step / (len(marks) - 1))
        pen.line((at[0] + BAR_WIDTH, y, at[0] + BAR_WIDTH + 5, y), INK)
        pen.text((at[0] + BAR_WIDTH + 10, y), text, INK, font(SMALL), anchor="lm")


def _marks(scale: Scale) -> list[tuple[float, str]]:
    """Five values from the top of the scale to its bottom, and what stands beside them."""
    low = -scale.limit if scale.signed else 0.0
    values = [scale.limit + (low - scale.limit) * step / 4 for step in range(5)]
    return [(value, _end(value, scale) + number(value)) for value in values]


def _end(value: float, scale: Scale) -> str:
    if not scale.clipped or abs(value) != scale.limit:
        return ""
    return ">= " if value > 0 else "<= "
