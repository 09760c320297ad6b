"""Token strips: a box for every position of a sequence, coloured by its value, the value below the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

from explainsvc.errors import InvalidInput
from explainsvc.report import canvas
from explainsvc.report.blocks import EDGE, HEAD, Block, headed, with_bar
from explainsvc.report.canvas import INK, QUIET, TEXT
from explainsvc.report.colors import Scale, colours, folded, folded_note, scale_of
from explainsvc.report.kinds import View, unfit

WIDTH = 880
TINY = 13
"""Size of the numbers in the boxes."""
MOST_NUMBERS = 256
"""Longer sequences have no numbers in their boxes, only colours."""
MOST_TOKENS = 4096
LONGEST_TOKEN = 240
"""Pixels of a token's text."""
BOX, BOX_WITH_NUMBER, STEP = 26, 44, 4
LEAST_WIDTH, LEAST_WIDTH_WITH_NUMBER = 22, 76


@dataclass(frozen=True)
class Box:
    """Where one token stands: its left upper corner, and its width."""

    text: str
    left: int
    top: int
    width: int


def rows(maps: Mapping[str, npt.NDArray[np.float64]], view: View) -> list[list[Block]]:
    """A strip for each method below one another, wrapped alike, so that a token stands at the same place in each."""
    shape = next(iter(maps.values())).shape
    axis = _positions(shape, view)
    texts = _texts(shape[axis], view)
    return [[_strip(name if len(maps) > 1 else "tokens", values, axis, texts, view)] for name, values in maps.items()]


def _positions(shape: Sequence[int], view: View) -> int:
    """The axis of the positions: the first, unless only the last has as many entries as there are token strings."""
    if len(shape) not in (1, 2):
        raise unfit(shape, "values per token: [T] or [T, E]")
    count = None if view.tokens is None else len(view.tokens)
    axis = 1 if len(shape) == 2 and count not in (None, shape[0]) and count == shape[1] else 0
    if count not in (None, shape[axis]):
        words = f"{count} token strings for shape {list(shape)}"
        raise InvalidInput(words, where="tokens", expected=f"{shape[0]}, one a position")
    if not 0 < shape[axis] <= MOST_TOKENS:
        raise unfit(shape, f"at most {MOST_TOKENS} tokens", "Draw it as a series")
    return axis


def _texts(count: int, view: View) -> list[str]:
    """The given text of every position, else its id, else its number."""
    if view.tokens is not None:
        given: Sequence[Any] = view.tokens
    else:
        ids = view.x is not None and view.x.ndim == 1 and view.x.size == count
        given = view.x.tolist() if ids and view.x is not None else range(count)
    return [_text(f"{each:.3g}" if isinstance(each, float) else str(each)) for each in given]


def _text(token: str) -> str:
    """A token that can be seen: blanks alone are quoted, and long ones end in an ellipsis."""
    shown = canvas.legible(token[: canvas.LONGEST_TEXT])
    shown = shown if shown.strip() else f'"{shown}"'
    return canvas.fit(shown, TEXT, LONGEST_TOKEN)


def _strip(caption: str, values: npt.NDArray[np.float64], axis: int, texts: Sequence[str], view: View) -> Block:
    flat, notes = values, [""]
    if values.ndim == 2:
        flat, notes = folded(values, 1 - axis), [folded_note(values, 1 - axis, "entries of each position")]
    scale = scale_of(flat, view.mode, 100.0 if view.percentile is None else view.percentile)
    numbers = flat.size <= MOST_NUMBERS
    boxes, height = layout(texts, numbers)
    picture, pen = headed(caption, max(box.left + box.width for box in boxes), height)
    for index, (box, value) in enumerate(zip(boxes, flat, strict=True)):
        if index == 0 or box.top != boxes[index - 1].top:
            pen.text((EDGE + _gutter(texts) - 8, box.top + HEAD + 13), str(index), QUIET, canvas.font(TINY), anchor="rm")
        _draw(pen, box, float(value), scale, numbers)
    return with_bar(picture, scale, view.label, height, notes)


def _gutter(texts: Sequence[str]) -> int:
    """Room at the left for the number of a line's first position."""
    return canvas.length(str(len(texts)), TINY) + 10


def layout(texts: Sequence[str], numbers: bool) -> tuple[list[Box], int]:
    """The boxes in lines of at most WIDTH pixels, and the height of all lines; the values have no part in it."""
    least, tall = (LEAST_WIDTH_WITH_NUMBER, BOX_WITH_NUMBER) if numbers else (LEAST_WIDTH, BOX)
    gutter = _gutter(texts)
    x, y, boxes = gutter, 0, []
    for text in texts:
        width = max(least, canvas.length(text, TEXT) + 12)
        if x + width > WIDTH and x > gutter:
            x, y = gutter, y + tall + STEP
        boxes.append(Box(text, x, y, width))
        x += width + STEP
    return boxes, y + tall


def _draw(pen: ImageDraw.ImageDraw, box: Box, value: float, scale: Scale, numbers: bool) -> None:
    fill = tuple(colours(np.array(value), scale).tolist())
    ink = INK if sum(fill) > 3 * 150 else (255, 255, 255)
    left, top = box.left + EDGE, box.top + HEAD
    tall = BOX_WITH_NUMBER if numbers else BOX
    pen.rectangle((left, top, left + box.width - 1, top + tall - 1), fill, canvas.LINE)
    pen.text((left + box.width // 2, top + 13), box.text, ink, canvas.font(TEXT), anchor="mm")
    if numbers:
        pen.text((left + box.width // 2, top + 32), canvas.number(value), ink, canvas.font(TINY), anchor="mm")
