"""Volumes by slices along the first spatial axis: stacked, they are one tall picture, so one scale serves all slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from explainsvc.report import canvas
from explainsvc.report.blocks import EDGE, HEAD, Block, headed, with_bar
from explainsvc.report.canvas import QUIET
from explainsvc.report.colors import (
    COLOURLESS,
    WHITE,
    Pixels,
    as_map,
    as_picture,
    channel_axis,
    colours,
    folded_note,
    overlay,
    resize,
    scale_of,
)
from explainsvc.report.heat import PERCENTILE
from explainsvc.report.kinds import View, unfit

LEAST_SIDE, MOST_SIDE = 96, 200
WIDTH = 860
GAP, LABEL, LABEL_SIZE = 10, 18, 13
MOST_SLICES = 48


def rows(maps: Mapping[str, npt.NDArray[np.float64]], view: View) -> list[list[Block]]:
    """The input's slices where it is known, then those of each method below."""
    shape = next(iter(maps.values())).shape
    if len(shape) not in (3, 4) or 0 in shape:
        raise unfit(shape, "a volume: [C, D, H, W], [D, H, W, C] or [D, H, W]")
    axis = channel_axis(shape, view.layout) if len(shape) == 4 else None
    image = None
    if view.x is not None:
        if np.shape(view.x) != shape:
            raise unfit(np.shape(view.x), f"an input of the map's shape {list(shape)}")
        image = _cut(as_picture(*_tall(np.asarray(view.x), axis)), shape, axis)
    found = [] if image is None else [[Block(_grid("input", image)[0], _left_out(len(image)))]]
    return found + [[_map(name, values, axis, image, view)] for name, values in maps.items()]


def _tall(array: npt.NDArray[Any], axis: int | None) -> tuple[npt.NDArray[Any], Any]:
    """The slices on top of one another, [C, D·H, W], [D·H, W, C] or [D·H, W], and that layout's name."""
    if axis is None:
        return array.reshape(-1, array.shape[-1]), "HW"
    if axis == 0:
        return array.reshape(array.shape[0], -1, array.shape[-1]), "CHW"
    return array.reshape(-1, *array.shape[-2:]), "HWC"


def _cut(tall: Pixels, shape: Sequence[int], axis: int | None) -> Pixels:
    """[D·H, W, 3] as slices [D, H, W, 3]."""
    depth, height, width = (size for index, size in enumerate(shape) if index != axis)
    return tall.reshape(depth, height, width, 3)


def _map(name: str, values: npt.NDArray[np.float64], axis: int | None, image: Pixels | None, view: View) -> Block:
    plane = as_map(*_tall(values, axis))
    scale = scale_of(plane, view.mode, PERCENTILE if view.percentile is None else view.percentile)
    slices = _cut(colours(plane, scale), values.shape, axis)
    picture, height = _grid(name, slices, image)
    summed = "" if axis is None or values.shape[axis] == 1 else folded_note(values, axis, "channels")
    notes = [*_left_out(len(slices)), _largest(plane, len(slices)), summed]
    return with_bar(picture, scale, view.label, height, notes, WHITE if image is None else COLOURLESS)


def _grid(caption: str, slices: Pixels, image: Pixels | None = None) -> tuple[Any, int]:
    """The slices with their numbers, and the height that they take; the colours lie over the input, where there is one."""
    height, width = _size(slices.shape[1:3])
    chosen = drawn(len(slices))
    columns = max(1, min(len(chosen), (WIDTH + GAP) // (width + GAP)))
    lines = math.ceil(len(chosen) / columns)
    tall = lines * (height + LABEL + GAP) - GAP
    picture, pen = headed(caption, columns * (width + GAP) - GAP, tall)
    for place, index in enumerate(chosen):
        x, y = EDGE + place % columns * (width + GAP), HEAD + place // columns * (height + LABEL + GAP)
        panel = resize(slices[index], height, width)
        under = None if image is None else resize(image[index], height, width)
        canvas.write(pen, (x, y + 12), f"{index}" if place else f"slice {index}", LABEL_SIZE, width, QUIET, "ls")
        canvas.paste(picture, panel if under is None else overlay(panel, under), (x, y + LABEL))
    return picture, tall


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a drawn slice: a whole multiple where it is small."""
    longest = max(shape)
    factor = -(-LEAST_SIDE // longest) if longest < LEAST_SIDE else min(1.0, MOST_SIDE / longest)
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def drawn(depth: int) -> list[int]:
    """The slices that are drawn: all, or as many as fit at even distances, the first and the last among them."""
    places = np.linspace(0, depth - 1, min(depth, MOST_SLICES)).round().astype(int)
    return [int(index) for index in places]


def _left_out(depth: int) -> tuple[str, ...]:
    return (f"{MOST_SLICES} of {depth} slices are drawn, at even distances",) if depth > MOST_SLICES else ()


def _largest(plane: npt.NDArray[np.float64], depth: int) -> str:
    """Which slice holds the largest magnitude: it may be one that is not drawn."""
    size = np.nan_to_num(np.abs(plane), nan=0.0, posinf=0.0, neginf=0.0).reshape(depth, -1).max(1)
    return f"the largest |value| lies in slice {int(size.argmax())}" if size.any() else ""
