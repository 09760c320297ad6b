"""Pictures of attributions as PNG bytes: one item by one or several methods, and grids of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from explainsvc.errors import InvalidInput
from explainsvc.report import bars, canvas, heat, series, strips, volumes
from explainsvc.report.blocks import GAP, Block, figure
from explainsvc.report.canvas import INK, MARGIN, QUIET, SMALL, TITLE
from explainsvc.report.colors import Layout, Mode, as_map, as_picture, colours, resize, scale_of
from explainsvc.report.heat import over, picture_of, within
from explainsvc.report.kinds import Kind, View, checked, kind_of

Rows = Callable[[Mapping[str, npt.NDArray[np.float64]], View], list[list[Block]]]
DRAW: dict[Kind, Rows] = {
    "image": heat.rows,
    "tokens": strips.rows,
    "bars": bars.rows,
    "series": series.rows,
    "volume": volumes.rows,
}


def attributions_png(
    maps: Mapping[str, npt.ArrayLike],
    *,
    kind: str | None = None,
    x: npt.ArrayLike | None = None,
    layout: Layout | None = None,
    tokens: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    title: str = "",
    mode: Mode | None = None,
    percentile: float | None = None,
    unit: str = "attribution",
) -> bytes:
    """One item's attributions by one or several methods, each with its own scale and what was done to draw it.

    Args:
        maps: Method → values of one item, all of one shape.
        kind: image, tokens, bars, series or volume; by default what shape and type of ``x`` (else of the values) say.
        x: The item itself; under an image it may be a decoded picture.
        layout: Where the channels are, for images, series and volumes.
        tokens: Text of each position; the default is the id in ``x``.
        names: Of a table's columns.
        title: Above all.
        mode: "signed", "absolute" (magnitudes), or None: signed when several are compared or a value is negative.
        percentile: Of |values|, where the strongest colour stands; bars always reach to the largest.
        unit: At the colour bar.

    Raises:
        InvalidInput: The values do not fit the kind, one another, the tokens or the names.
        InvalidParameter: There is no such kind, mode, layout or percentile.
    """
    arrays = {name: np.asarray(values, np.float64) for name, values in maps.items()}
    shapes = {values.shape for values in arrays.values()}
    if len(shapes) != 1:
        words = ", ".join(f"{name} {list(values.shape)}" for name, values in arrays.items()) or "there are none"
        raise InvalidInput(f"the maps are not of one shape: {words}", where="maps", expected="one item by one or several methods")
    given = None if x is None else np.asarray(x)
    shape = shapes.pop()
    like = "f" if given is None or given.shape != shape else given.dtype.kind
    chosen = checked(kind or kind_of(shape, like, tokens is not None, names is not None))
    signed: Mode | None = "signed" if mode is None and len(arrays) > 1 else mode
    view = View(given, layout, tokens, names, signed, percentile, unit)
    return canvas.png(figure(title, DRAW[chosen](arrays, view)))


def heatmap_png(
    values: npt.ArrayLike,
    *,
    image: npt.ArrayLike | None = None,
    title: str = "",
    layout: Layout | None = None,
    mode: Mode | None = None,
    percentile: float = heat.PERCENTILE,
    unit: str = "attribution",
) -> bytes:
    """One item's map with a colour bar; with ``image``, the input beside it and a pale copy of it beneath.

    Channels are summed. Signed maps run blue-white-red, symmetric about zero; maps without negative values (or
    ``mode="absolute"``, which draws magnitudes) run white-red. Values that are not finite are grey; these, the scale, a
    constant map and values beyond the scale (``percentile`` of the magnitudes) are named under the picture.
    ``unit`` stands at the colour bar: attributions are in units of the explained output.
    """
    return attributions_png(
        {"map": values}, kind="image", x=image, layout=layout, title=title, mode=mode, percentile=percentile, unit=unit
    )


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
    rgb = over(colours(plane, scale_of(plane, mode)), picture_of(image, values, layout))
    return canvas.png(Image.fromarray(resize(rgb, *within(plane.shape, side))))


def picture_png(image: npt.ArrayLike, *, layout: Layout | None = None, side: int = 160) -> bytes:
    """The input itself, at the size of ``panel_png``."""
    pixels = as_picture(image, layout)
    return canvas.png(Image.fromarray(resize(pixels, *within(pixels.shape, side))))


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
