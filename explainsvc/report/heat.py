"""Images: one heat map a method, over a pale copy of the input, with a colour bar each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from explainsvc.report.blocks import Block, framed, in_rows, with_bar
from explainsvc.report.colors import (
    COLOURLESS,
    WHITE,
    Layout,
    Pixels,
    as_map,
    as_picture,
    channel_note,
    colours,
    overlay,
    resize,
    scale_of,
)
from explainsvc.report.kinds import View

SHORT_SIDE, LONG_SIDE = 320, 720
"""Pixels: smaller maps are enlarged by whole factors, larger ones reduced."""
SEVERAL_SIDE = 448
"""The longest side where several methods share a row."""
PERCENTILE = 99.0


def rows(maps: Mapping[str, npt.NDArray[np.float64]], view: View) -> list[list[Block]]:
    """The input first, then a map for each method; at most three panels a row."""
    several = len(maps) > 1
    image = picture_of(view.x, next(iter(maps.values())), view.layout)
    found = [] if image is None else [framed("input", resize(image, *panel_size(image.shape, _longest(several))))]
    found += [_map(name if several else _caption(image), values, image, view, _longest(several)) for name, values in maps.items()]
    columns = 3 if several else 2
    return in_rows(found, 2 if len(found) == 4 else columns)


def _longest(several: bool) -> int:
    return SEVERAL_SIDE if several else LONG_SIDE


def _caption(image: Pixels | None) -> str:
    return "map" if image is None else "map over the input"


def _map(caption: str, values: npt.NDArray[np.float64], image: Pixels | None, view: View, longest: int) -> Block:
    plane = as_map(values, view.layout)
    scale = scale_of(plane, view.mode, PERCENTILE if view.percentile is None else view.percentile)
    panel = over(resize(colours(plane, scale), *panel_size(plane.shape, longest)), image)
    zero = WHITE if image is None else COLOURLESS
    return with_bar(framed(caption, panel).picture, scale, view.label, len(panel), [channel_note(values, view.layout)], zero)


def over(rgb: Pixels, image: Pixels | None) -> Pixels:
    """The colours over a pale copy of the image, where there is one."""
    return rgb if image is None else overlay(rgb, resize(image, *rgb.shape[:2]))


def picture_of(image: npt.ArrayLike | None, values: npt.ArrayLike, layout: Layout | None) -> Pixels | None:
    """The input as RGB: in the map's layout when it has the map's shape, else (a decoded file) in its own."""
    if image is None:
        return None
    return as_picture(image, layout if np.shape(image) == np.shape(values) else None)


def panel_size(shape: Sequence[int], most: int = LONG_SIDE) -> tuple[int, int]:
    """Whole-number enlargement until the longer side has SHORT_SIDE pixels; reduction to at most ``most``."""
    height, width = shape[:2]
    longest = max(height, width)
    if longest > most:
        return within(shape, most)
    factor = max(1, min(-(-SHORT_SIDE // longest), most // longest)) if longest < SHORT_SIDE else 1
    return height * factor, width * factor


def within(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Height and width whose longer one is ``side``."""
    height, width = shape[:2]
    longest = max(height, width)
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))
