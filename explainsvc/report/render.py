"""Pictures of attributions as PNG bytes: heat maps over images, bars for tables and signals, grids of maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from explainsvc.errors import InvalidInput
from explainsvc.report import canvas
from explainsvc.report.canvas import BAR_SPACE, INK, LINE, MARGIN, QUIET, SMALL, TEXT, TITLE
from explainsvc.report.colors import (
    Floats,
    Layout,
    Mode,
    Pixels,
    Scale,
    as_map,
    as_picture,
    channel_note,
    colours,
    overlay,
    resize,
    scale_of,
)

SHORT_SIDE, LONG_SIDE = 320, 720
"""Pixels: smaller maps are enlarged by whole factors, larger ones reduced."""
GAP = 20
BAR_ROW, BAR_SPAN, MOST_BARS = 28, 420, 40
SIGNAL_WIDTH, SIGNAL_HEIGHT = 880, 240


def heatmap_png(
    values: npt.ArrayLike,
    *,
    image: npt.ArrayLike | None = None,
    title: str = "",
    layout: Layout | None = None,
    mode: Mode | None = None,
    percentile: float = 99.0,
    unit: str = "attribution",
) -> bytes:
    """One item's map with a colour bar; with ``image``, the input beside it and a pale copy of it beneath.

    Channels are summed. Signed maps run blue-white-red, symmetric about zero; maps without negative values (or
    ``mode="absolute"``, which draws magnitudes) run white-red. Values that are not finite are grey; these, a
    constant map and values beyond the scale (``percentile`` of the magnitudes) are named under the picture.
    ``unit`` stands at the colour bar: attributions are in units of the explained output.
    """
    plane = as_map(values, layout)
    scale = scale_of(plane, mode, percentile)
    panels = _panels(plane, scale, _picture(image, values, layout))
    notes = [note for note in (channel_note(values, layout), *scale.notes) if note]
    return canvas.png(_figure(panels, scale, title, notes, f"|{unit}|" if mode == "absolute" else unit))


def panel_png(
    values: npt.ArrayLike,
    *,
    image: npt.ArrayLike | None = None,
    layout: Layout | None = None,
    mode: Mode | None = "signed",
    side: int = 160,
) -> bytes:
    """The bare map (over the pale image), without title or colour bar: for grids that carry their own."""
    plane = as_map(values, layout)
    rgb = _over(colours(plane, scale_of(plane, mode)), _picture(image, values, layout))
    return canvas.png(Image.fromarray(resize(rgb, *_within(plane.shape, side))))


def picture_png(image: npt.ArrayLike, *, layout: Layout | None = None, side: int = 160) -> bytes:
    """The input itself, at the size of ``panel_png``."""
    pixels = as_picture(image, layout)
    return canvas.png(Image.fromarray(resize(pixels, *_within(pixels.shape, side))))


@dataclass(frozen=True)
class GridRow:
    """One input of a grid: what it is (up to two lines), the input, and method → attributions."""

    caption: str
    image: npt.ArrayLike
    maps: Mapping[str, npt.ArrayLike]


def grid_png(rows: Sequence[GridRow], *, title: str = "", side: int = 136) -> bytes:
    """Several inputs (rows) by several methods (columns); every map is signed and has its own scale."""
    methods = list(dict.fromkeys(name for row in rows for name in row.maps))
    words = [line for row in rows for line in row.caption.split("\n")]
    label = min(260, max((math.ceil(canvas.font(SMALL).getlength(line)) for line in words), default=0) + 16)
    head = MARGIN + (TITLE + 18) * bool(title) + 30
    width = 2 * MARGIN + label + (1 + len(methods)) * (side + GAP) - GAP
    picture, pen = canvas.sheet(width, head + len(rows) * (side + GAP) + MARGIN + 8)
    canvas.write(pen, (MARGIN, MARGIN), title, TITLE, width - 2 * MARGIN)
    columns = [MARGIN + label + index * (side + GAP) for index in range(1 + len(methods))]
    for x, name in zip(columns, ["input", *methods], strict=True):
        canvas.write(pen, (x + side // 2, head - 8), name, SMALL, side + GAP - 4, anchor="ms")
    for index, row in enumerate(rows):
        y = head + index * (side + GAP)
        for line, caption in enumerate(row.caption.split("\n")):
            at = (MARGIN, y + side // 2 - 12 + 22 * line)
            canvas.write(pen, at, caption, SMALL, label - 10, QUIET if line else INK, "lm")
        maps = [panel_png(row.maps[name], image=row.image, side=side) for name in methods]
        for x, tile in zip(columns, [picture_png(row.image, side=side), *maps], strict=True):
            panel = canvas.pixels(tile)
            canvas.paste(picture, panel, (x + (side - panel.shape[1]) // 2, y + (side - panel.shape[0]) // 2))
    note = "red speaks for the explained class, blue against it, no colour is zero; each map has its own scale"
    canvas.write(pen, (MARGIN, picture.height - 16), note, SMALL, width - 2 * MARGIN, QUIET, "ls")
    return canvas.png(picture)


def bars_png(values: npt.ArrayLike, names: Sequence[str] | None = None, title: str = "", unit: str = "attribution") -> bytes:
    """A 1-d attribution: one bar per named column, or, without names, one column per position of a signal.

    With more than 40 names the 40 of largest magnitude are drawn, in the given order, and a note says so.
    """
    row = np.asarray(values, np.float64)
    flat = row.reshape(-1)
    if flat.size == 0 or max(row.shape, default=1) != flat.size:
        raise InvalidInput(
            f"shape {list(row.shape)} is not one row",
            where="values",
            expected="(N,), with leading axes of length one at most",
            to_do="Draw one item at a time; use heatmap_png for pictures",
        )
    if names is None:
        return canvas.png(_signal(flat, title, unit))
    if len(names) != flat.size:
        raise InvalidInput(f"{len(names)} names for {flat.size} values", where="names", expected="one name per value")
    return canvas.png(_bars(flat, names, title, unit))


def _figure(panels: Sequence[tuple[str, Pixels]], scale: Scale, title: str, notes: Sequence[str], unit: str) -> Image.Image:
    """Panels side by side under the title, the colour bar at the right, the notes below."""
    height = panels[0][1].shape[0]
    inner = sum(pixels.shape[1] + GAP for _, pixels in panels) + BAR_SPACE
    lines = canvas.wrap(notes, SMALL, inner)
    top = MARGIN + (TITLE + 14) * bool(title) + TEXT + 10
    picture, pen = canvas.sheet(inner + 2 * MARGIN, top + height + MARGIN + 22 * len(lines) + 8 * bool(lines))
    canvas.write(pen, (MARGIN, MARGIN), title, TITLE, inner)
    x = MARGIN
    for caption, pixels in panels:
        canvas.write(pen, (x, top - 9), caption, SMALL, pixels.shape[1], QUIET, "ls")
        canvas.paste(picture, pixels, (x, top))
        x += pixels.shape[1] + GAP
    canvas.colour_bar(picture, scale, (x, top), height, unit)
    for index, line in enumerate(lines):
        pen.text((MARGIN, top + height + 14 + 22 * index), line, QUIET, canvas.font(SMALL))
    return picture


def _panels(plane: Floats, scale: Scale, image: Pixels | None) -> list[tuple[str, Pixels]]:
    size = _panel_size(plane.shape, SHORT_SIDE, LONG_SIDE)
    rgb = colours(plane, scale)
    if image is None:
        return [("map", resize(rgb, *size))]
    return [("input", resize(image, *size)), ("map over the input", _over(resize(rgb, *size), image))]


def _over(rgb: Pixels, image: Pixels | None) -> Pixels:
    return rgb if image is None else overlay(rgb, resize(image, *rgb.shape[:2]))


def _picture(image: npt.ArrayLike | None, values: npt.ArrayLike, layout: Layout | None) -> Pixels | None:
    """The input as RGB: in the map's layout when it has the map's shape, else (a decoded file) in its own."""
    if image is None:
        return None
    return as_picture(image, layout if np.shape(image) == np.shape(values) else None)


def _panel_size(shape: Sequence[int], least: int, most: int) -> tuple[int, int]:
    """Whole-number enlargement until the longer side has ``least`` pixels; reduction to at most ``most``."""
    height, width = shape[:2]
    longest = max(height, width)
    if longest > most:
        return _within(shape, most)
    factor = max(1, -(-least // longest)) if longest < least else 1
    return height * factor, width * factor


def _within(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Height and width whose longer one is ``side``."""
    height, width = shape[:2]
    longest = max(height, width)
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))


def _bars(flat: Floats, names: Sequence[str], title: str, unit: str) -> Image.Image:
    """Horizontal bars about a zero line; red to the right, blue to the left."""
    scale = scale_of(flat, "signed", 100.0)
    chosen = np.sort(np.argsort(-np.nan_to_num(np.abs(flat), nan=np.inf), kind="stable")[:MOST_BARS])
    notes = [f"{MOST_BARS} of {flat.size} are shown, the largest by magnitude"] * (flat.size > MOST_BARS)
    lines = canvas.wrap([*notes, *scale.notes], SMALL, 600)
    label = int(min(300, max(canvas.font(TEXT).getlength(names[index]) for index in chosen))) + 14
    top = MARGIN + (TITLE + 18) * bool(title)
    left = MARGIN + label + 70
    bottom = top + BAR_ROW * len(chosen)
    picture, pen = canvas.sheet(left + BAR_SPAN + 70 + MARGIN, bottom + 44 + 22 * len(lines) + MARGIN)
    canvas.write(pen, (MARGIN, MARGIN), title, TITLE, picture.width - 2 * MARGIN)
    zero = left + BAR_SPAN // 2
    for place, index in enumerate(chosen):
        y = top + BAR_ROW * place
        canvas.write(pen, (MARGIN, y + BAR_ROW // 2), names[index], TEXT, label - 14, anchor="lm")
        _bar(pen, float(flat[index]), scale, zero, y)
    pen.line((zero, top, zero, bottom), INK)
    pen.text((zero, bottom + 8), f"{unit} (bars start at 0)", QUIET, canvas.font(SMALL), anchor="ma")
    for place, line in enumerate(lines):
        pen.text((MARGIN, bottom + 38 + 22 * place), line, QUIET, canvas.font(SMALL))
    return picture


def _bar(pen: ImageDraw.ImageDraw, value: float, scale: Scale, zero: int, y: int) -> None:
    """One bar with its number at the far end."""
    if not np.isfinite(value):
        pen.text((zero + 8, y + BAR_ROW // 2), str(value), QUIET, canvas.font(SMALL), anchor="lm")
        return
    reach = round(value / scale.limit * (BAR_SPAN // 2))
    pen.rectangle((min(zero, zero + reach), y + 5, max(zero, zero + reach), y + BAR_ROW - 5), _solid(value))
    anchor, step = ("rm", -6) if value < 0 else ("lm", 6)
    pen.text((zero + reach + step, y + BAR_ROW // 2), canvas.number(value), INK, canvas.font(SMALL), anchor=anchor)


def _signal(flat: Floats, title: str, unit: str) -> Image.Image:
    """Vertical columns over the position, with the scale at the left; positions that share a pixel column overlap."""
    scale = scale_of(flat, "signed", 100.0)
    lines = canvas.wrap(scale.notes, SMALL, SIGNAL_WIDTH)
    top, left = MARGIN + (TITLE + 18) * bool(title) + 20, MARGIN + 84
    picture, pen = canvas.sheet(left + SIGNAL_WIDTH + MARGIN, top + SIGNAL_HEIGHT + 56 + 22 * len(lines))
    canvas.write(pen, (MARGIN, MARGIN), title, TITLE, SIGNAL_WIDTH)
    canvas.write(pen, (MARGIN, top - 12), unit, SMALL, 300, QUIET, "ls")
    edges = left + np.rint(np.linspace(0, SIGNAL_WIDTH, flat.size + 1)).astype(int)
    zero = top + SIGNAL_HEIGHT // 2
    for value in (scale.limit, 0.0, -scale.limit):
        y = zero - round(value / scale.limit * (SIGNAL_HEIGHT // 2))
        pen.line((left - 6, y, left + SIGNAL_WIDTH, y), LINE)
        pen.text((left - 12, y), canvas.number(value), INK, canvas.font(SMALL), anchor="rm")
    for start, stop, value in zip(edges[:-1], edges[1:], flat, strict=True):
        if not np.isfinite(value):
            pen.rectangle((int(start), top, max(int(start), int(stop) - 1), top + SIGNAL_HEIGHT), LINE)
            continue
        y = zero - round(float(value) / scale.limit * (SIGNAL_HEIGHT // 2))
        gap = 1 if stop - start > 3 else 0
        pen.rectangle((int(start), min(y, zero), max(int(start), int(stop) - 1 - gap), max(y, zero)), _solid(value))
    for x, text, anchor in ((left, "0", "la"), (left + SIGNAL_WIDTH, f"position {flat.size - 1}", "ra")):
        pen.text((x, top + SIGNAL_HEIGHT + 8), text, QUIET, canvas.font(SMALL), anchor=anchor)
    for place, line in enumerate(lines):
        pen.text((MARGIN, top + SIGNAL_HEIGHT + 36 + 22 * place), line, QUIET, canvas.font(SMALL))
    return picture


def _solid(value: float) -> tuple[int, int, int]:
    """The strongest colour of the value's sign."""
    red, green, blue = colours(np.array(value), Scale(max(abs(value), np.finfo(float).tiny), signed=True)).tolist()
    return red, green, blue
