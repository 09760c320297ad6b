"""Writing and placing on a white sheet: text, panels, colour bars, PNG bytes. Pillow only."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
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
BAR_SPACE = 118
"""Width of a colour bar with its numbers."""

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
    """At most three significant digits, with ASCII minus (the embedded font has no other)."""
    return f"{value:.3g}" if value else "0"


def fit(text: str, size: int, width: float) -> str:
    """The text, or as much of it as the width holds and an ellipsis."""
    plain = " ".join(text[:LONGEST_TEXT].split())
    if font(size).getlength(plain) <= width:
        return plain
    while plain and font(size).getlength(plain + "...") > width:
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


def wrap(notes: Sequence[str], size: int, width: float) -> list[str]:
    """Lines of at most about the given width."""
    columns = max(20, int(width / font(size).getlength("n")))
    return [line for note in notes for line in textwrap.wrap(note, columns)]


def paste(picture: Image.Image, panel: Pixels, at: Point) -> None:
    """A panel with a hairline frame, so that a white map still has an edge."""
    height, width = panel.shape[:2]
    picture.paste(Image.fromarray(panel), at)
    ImageDraw.Draw(picture).rectangle((at[0] - 1, at[1] - 1, at[0] + width, at[1] + height), outline=LINE)


def colour_bar(picture: Image.Image, scale: Scale, at: Point, height: int, unit: str) -> None:
    """The scale as colours with five numbers; the unit stands above; clipped ends carry ``>=`` or ``<=``."""
    pen = ImageDraw.Draw(picture)
    low = -scale.limit if scale.signed else 0.0
    ladder = np.linspace(scale.limit, low, height)[:, None].repeat(BAR_WIDTH, 1)
    paste(picture, colours(ladder, scale), at)
    write(pen, (at[0], at[1] - 12), unit, SMALL, BAR_SPACE, QUIET, "ls")
    for step in range(5):
        value = scale.limit + (low - scale.limit) * step / 4
        y = at[1] + round((height - 1) * step / 4)
        pen.line((at[0] + BAR_WIDTH, y, at[0] + BAR_WIDTH + 5, y), INK)
        pen.text((at[0] + BAR_WIDTH + 10, y), _end(value, scale) + number(value), INK, font(SMALL), anchor="lm")


def _end(value: float, scale: Scale) -> str:
    if not scale.clipped or abs(value) != scale.limit:
        return ""
    return ">= " if value > 0 else "<= "
