"""A figure as rows of blocks: each block is a drawn panel with its caption, and the notes that belong under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from PIL import Image, ImageDraw

from explainsvc.report import canvas
from explainsvc.report.canvas import MARGIN, QUIET, SMALL, TEXT, TITLE
from explainsvc.report.colors import WHITE, Pixels, Scale

HEAD = TEXT + 10
"""Height of a caption; a panel begins right below it."""
FOOT = 9
"""Half a line, for the lowest number of a colour bar."""
EDGE = 1
"""A hairline frame lies outside its panel."""
GAP, ROW_GAP = 20, 18
MOST_CAPTION = 600
NOTE_LINE = 22
MOST_BAR = 720
"""Height of a colour bar beside a very tall panel."""
LEAST_NOTES = 280
"""Notes are wrapped no narrower than this."""


@dataclass(frozen=True)
class Block:
    """A drawn panel with its caption; notes are set below it, wrapped to its width."""

    picture: Image.Image
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels, frame included."""
        return max(self.picture.width, LEAST_NOTES if self.notes else 0)

    def lines(self) -> list[str]:
        """The notes, wrapped."""
        return canvas.wrap(self.notes, SMALL, self.width)


def headed(caption: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A picture for a panel of this size at (EDGE, HEAD), its caption written above."""
    wide = max(width, canvas.length(canvas.fit(caption, SMALL, MOST_CAPTION), SMALL))
    picture, pen = canvas.sheet(wide + 2 * EDGE, HEAD + height + FOOT)
    canvas.write(pen, (EDGE, HEAD - 12), caption, SMALL, picture.width, QUIET, "ls")
    return picture, pen


def framed(caption: str, panel: Pixels) -> Block:
    """A panel under its caption."""
    picture, _ = headed(caption, panel.shape[1], panel.shape[0])
    canvas.paste(picture, panel, (EDGE, HEAD))
    return Block(picture)


def with_bar(picture: Image.Image, scale: Scale, unit: str, height: int, notes: Sequence[str], zero: str = WHITE) -> Block:
    """A headed picture, widened by the colour bar of its values; the scale is also said in words."""
    tall = max(min(height, MOST_BAR), canvas.LEAST_BAR)
    left = picture.width - 2 * EDGE + GAP + EDGE
    wider, _ = canvas.sheet(left + canvas.bar_space(scale, unit), max(picture.height, HEAD + tall + FOOT))
    wider.paste(picture, (0, 0))
    canvas.colour_bar(wider, scale, (left, HEAD), tall, unit)
    return Block(wider, (scale.words(zero), *(note for note in notes if note), *scale.notes))


def figure(title: str, rows: Sequence[Sequence[Block]]) -> Image.Image:
    """The rows below one another under the title; blocks of a row stand side by side, those of a column below one another."""
    columns = [max(block.width for block in column if block is not None) for column in zip_longest(*rows)]
    inner = sum(columns) + GAP * (len(columns) - 1)
    heights = [max(block.picture.height + _notes_height(block) for block in row) for row in rows]
    top = MARGIN + (TITLE + 14) * bool(title)
    picture, pen = canvas.sheet(inner + 2 * MARGIN, top + sum(heights) + ROW_GAP * (len(rows) - 1) + MARGIN - FOOT)
    canvas.write(pen, (MARGIN, MARGIN), title, TITLE, inner)
    for row, height in zip(rows, heights, strict=True):
        x = MARGIN - EDGE
        for block, width in zip(row, columns, strict=False):
            _place(picture, block, x, top)
            x += width + GAP
        top += height + ROW_GAP
    return picture


def _place(picture: Image.Image, block: Block, x: int, y: int) -> None:
    picture.paste(block.picture, (x, y))
    pen = ImageDraw.Draw(picture)
    for index, line in enumerate(block.lines()):
        at = (x + EDGE, y + block.picture.height + 5 + NOTE_LINE * index)
        canvas.write(pen, at, line, SMALL, block.width, QUIET)


def _notes_height(block: Block) -> int:
    lines = len(block.lines())
    return NOTE_LINE * lines + 5 * bool(lines)


def in_rows(blocks: Sequence[Block], columns: int) -> list[list[Block]]:
    """The blocks in rows of at most so many."""
    return [list(blocks[start : start + columns]) for start in range(0, len(blocks), columns)]
