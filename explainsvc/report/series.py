"""Series: each channel of a signal as a line, the attribution as colour behind it, over the position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from explainsvc.report import canvas
from explainsvc.report.blocks import EDGE, HEAD, Block, headed, with_bar
from explainsvc.report.canvas import INK, QUIET, SMALL
from explainsvc.report.colors import Floats, Pixels, Scale, colours, scale_of
from explainsvc.report.kinds import MOST_CHANNELS, View, unfit

WIDTH = 880
ALONE, AMONG, BETWEEN, BELOW = 220, 84, 14, 24
"""Height of the only channel, of one among several, the space between and below them."""
RIGHT = 24
"""Room for half of the last position's number."""
PAD = 0.12
"""Share of a channel's height that its line keeps from either edge."""
MANY_VALUES = 1000
"""From here on the strongest colour stands at the 99th percentile, so that one hot sample does not whiten the rest."""


def rows(maps: Mapping[str, npt.NDArray[np.float64]], view: View) -> list[list[Block]]:
    """The methods below one another over the same positions; without an input the values themselves, as columns."""
    several = len(maps) > 1
    maps = {name: _flat(values) for name, values in maps.items()}
    shape = next(iter(maps.values())).shape
    axis = channels(shape, view)
    axes = "" if axis is None or shape[axis] == 1 else f"{shape[axis]} channels (axis {axis} of {list(shape)})"
    found = []
    for name, values in maps.items():
        lines = _by_channel(values, axis, shape)
        if view.x is None:
            found.append([_columns_of(name if several else view.label, lines, view, axes)])
        else:
            caption = name if several else "attribution behind the input"
            found.append([_plot(caption, lines, _by_channel(_flat(view.x), axis, shape), view, axes)])
    return found


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[C, 1, T], as networks of 2-d convolutions want signals, is [C, T]."""
    return array[:, 0] if array.ndim == 3 and array.shape[1] == 1 else array


def channels(shape: Sequence[int], view: View) -> int | None:
    """The axis of the channels: as the layout says, else the shorter of two; None for a single row."""
    if len(shape) == 1:
        axis = None
    elif len(shape) != 2:
        raise unfit(shape, "a signal: [T], [C, T], [C, 1, T] or [T, C]")
    elif view.layout is not None:
        axis = 0 if view.layout.upper().removeprefix("N").startswith("C") else 1
    else:
        axis = 0 if shape[0] <= shape[1] else 1
    if 0 in shape or (axis is not None and shape[axis] > MOST_CHANNELS):
        raise unfit(shape, f"at most {MOST_CHANNELS} channels", "Draw it as an image")
    return axis


def _by_channel(array: npt.NDArray[Any], axis: int | None, shape: tuple[int, ...]) -> Floats:
    """The map, or the input of the map's shape, as [C, T]."""
    if array.shape != shape:
        raise unfit(array.shape, f"an input of the map's shape {list(shape)}")
    return np.asarray(array[None] if axis is None else np.moveaxis(array, axis, 0), np.float64)


@dataclass(frozen=True)
class Frame:
    """Where the channels' panels lie: pixels a panel is wide and high, and the room at their left."""

    width: int
    tall: int
    gutter: int
    count: int

    def top(self, channel: int) -> int:
        """The upper edge of a channel's panel."""
        return HEAD + channel * (self.tall + BETWEEN)

    @property
    def height(self) -> int:
        """Of all panels together."""
        return self.count * self.tall + (self.count - 1) * BETWEEN


def _frame(values: Floats, ends: Sequence[str], names: Sequence[str]) -> Frame:
    count, length = values.shape
    gutter = max(canvas.length(word, SMALL) for word in (*ends, *names)) + 12
    return Frame(length * (WIDTH // length) if length <= WIDTH else WIDTH, ALONE if count == 1 else AMONG, gutter, count)


def _plot(caption: str, values: Floats, signal: Floats, view: View, axes: str) -> Block:
    """Colours over the position, and the input as a line before them."""
    share = 99.0 if values.size >= MANY_VALUES else 100.0
    scale = scale_of(values, view.mode, share if view.percentile is None else view.percentile)
    ends = [_ends(line) for line in signal]
    names = [_name(channel, len(ends), *each) for channel, each in enumerate(ends)]
    frame = _frame(values, [word for each in ends for word in each], names)
    picture, pen = headed(caption, frame.gutter + frame.width + RIGHT, frame.height + BELOW)
    for channel, (row, line) in enumerate(zip(values, signal, strict=True)):
        band = np.broadcast_to(colours(shown(row, frame.width), scale), (frame.tall, frame.width, 3))
        canvas.paste(picture, _with_line(np.ascontiguousarray(band), line), (EDGE + frame.gutter, frame.top(channel)))
        low, high = ends[channel]
        _side(pen, frame, channel, [] if low == high else [(PAD, high), (1 - PAD, low)], names[channel])
    _positions(pen, values.shape[1], frame)
    return with_bar(picture, scale, view.label, frame.height, [axes, _crowded(values.shape[1], frame.width)])


def _columns_of(caption: str, values: Floats, view: View, axes: str) -> Block:
    """The values themselves as columns from zero; the longest is the largest."""
    values = view.sized(values)
    scale = scale_of(values, "signed", 100.0)
    ends = (canvas.number(scale.limit), canvas.number(-scale.limit))
    names = [_name(channel, len(values), "0", "0") if len(values) > 1 else "0" for channel in range(len(values))]
    frame = _frame(values, ends, names)
    picture, pen = headed(caption, frame.gutter + frame.width + RIGHT, frame.height + BELOW)
    for channel, row in enumerate(values):
        canvas.paste(picture, _columns(shown(row, frame.width), scale, frame.tall), (EDGE + frame.gutter, frame.top(channel)))
        _side(pen, frame, channel, [(0.06, ends[0]), (0.94, ends[1])], names[channel])
    _positions(pen, values.shape[1], frame)
    notes = [scale.words("columns start at 0"), axes, _crowded(values.shape[1], frame.width), view.said, *scale.notes]
    return Block(picture, tuple(note for note in notes if note))


def _columns(row: Floats, scale: Scale, tall: int) -> Pixels:
    """[tall, width, 3]: from the middle up in red or down in blue; a value that is not finite fills its column grey."""
    share = np.where(np.isfinite(row), row / scale.limit, np.copysign(1.0, row))
    above = (tall // 2 - np.arange(tall)[:, None]) / (tall // 2)
    inside = np.where(share < 0, (above <= 0) & (above >= share), (above >= 0) & (above <= share)) & (share != 0)
    sign = np.where(np.isfinite(row), np.sign(share), np.nan)
    filled = np.broadcast_to(colours(sign, Scale(1.0, signed=True)), (tall, len(row), 3))
    rgb: Pixels = np.where((inside | ~np.isfinite(row))[..., None], filled, np.uint8(255)).astype(np.uint8)
    rgb[tall // 2] = INK
    return rgb


def _crowded(length: int, width: int) -> str:
    return f"{length} positions on {width} pixels: each column shows its largest |value|" if length > width else ""


def shown(row: Floats, width: int) -> Floats:
    """The value of every pixel column: its position's; of several positions that share it, the largest by magnitude."""
    count = len(row)
    if count <= width:
        return np.repeat(row, width // count)
    size = np.nan_to_num(np.abs(row), nan=np.inf)
    edges = np.arange(width + 1) * count // width
    return np.array([row[a + int(np.argmax(size[a:b]))] for a, b in pairwise(edges)])


def _with_line(panel: npt.NDArray[np.uint8], signal: Floats) -> npt.NDArray[np.uint8]:
    """The signal from its own minimum to its maximum: through the middle of its positions, or as an envelope."""
    height, width = panel.shape[:2]
    picture = Image.fromarray(panel)
    pen = ImageDraw.Draw(picture)
    y = _heights(signal, height)
    if len(signal) <= width:
        x = (np.arange(len(signal)) + 0.5) * (width // len(signal))
        for run in _runs(y):
            points = [(float(x[index]), float(y[index])) for index in run]
            for ink, thick in (((255, 255, 255), 5), (INK, 2)) if len(signal) <= width // 4 else ((INK, 1),):
                pen.line(points if len(points) > 1 else points * 2, ink, thick, joint="curve")
        return np.asarray(picture)
    edges = np.arange(width + 1) * len(signal) // width
    for column, (start, stop) in enumerate(pairwise(edges)):
        piece = y[start:stop][np.isfinite(y[start:stop])]
        if piece.size:
            pen.line((column, float(piece.min()), column, float(piece.max())), INK)
    return np.asarray(picture)


def _heights(signal: Floats, height: int) -> Floats:
    """Pixel rows, NaN where the signal is not finite; a constant one lies in the middle."""
    finite = signal[np.isfinite(signal)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    share = np.full(signal.shape, 0.5) if high == low else (signal - low) / (high - low)
    rows = (1 - PAD - share * (1 - 2 * PAD)) * (height - 1)
    return np.where(np.isfinite(signal), rows, np.nan)


def _runs(y: Floats) -> list[list[int]]:
    """Positions that one stroke can go through."""
    found: list[list[int]] = [[]]
    for index, value in enumerate(y):
        if np.isfinite(value):
            found[-1].append(index)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def _ends(signal: Floats) -> tuple[str, str]:
    """The signal's extremes as numbers, the lower one first."""
    finite = signal[np.isfinite(signal)]
    if finite.size == 0:
        return "", ""
    return f"{finite.min():.3g}", f"{finite.max():.3g}"


def _name(channel: int, count: int, low: str, high: str) -> str:
    """What stands halfway: the channel's number where there are several, the value of a constant one."""
    value = high if low == high else ""
    return value if count == 1 else f"ch {channel}" + (f" = {value}" if value else "")


def _side(pen: ImageDraw.ImageDraw, frame: Frame, channel: int, marks: Sequence[tuple[float, str]], name: str) -> None:
    """Numbers at their heights left of a panel, and its name halfway."""
    right, top = EDGE + frame.gutter - 8, frame.top(channel)
    for share, text, ink in ((0.5, name, QUIET if frame.count > 1 else INK), *((at, text, INK) for at, text in marks)):
        pen.text((right, top + round(share * (frame.tall - 1))), text, ink, canvas.font(SMALL), anchor="rm")


def _positions(pen: ImageDraw.ImageDraw, length: int, frame: Frame) -> None:
    """Up to five positions under their places."""
    top = HEAD + frame.height
    for position in dict.fromkeys(np.linspace(0, length - 1, min(5, length)).round().astype(int).tolist()):
        x = EDGE + frame.gutter + round((position + 0.5) * frame.width / length)
        pen.line((x, top, x, top + 4), INK)
        pen.text((x, top + 7), str(position), QUIET, canvas.font(SMALL), anchor="ma")
