"""Mean ranks of many maps at once, as scipy.stats.rankdata gives them one by one."""

from __future__ import annotations

import numpy as np

from explainsvc.autograd.shapes import Array

CHUNK_ELEMENTS = 2**21
"""Ranked at a time: ranking takes a few copies in float64."""
_SIGNLESS = np.int32(0x7FFFFFFF)


def ranks(maps: Array) -> Array:
    """Mean ranks per item, exact in float32; NaN for all of an item that holds a NaN or infinity."""
    rows = max(1, CHUNK_ELEMENTS // max(1, maps.shape[1]))
    found = np.empty(maps.shape, np.float32)
    for i in range(0, len(maps), rows):
        part = maps[i : i + rows]
        found[i : i + rows] = _ranks(part)
        found[i : i + rows][~np.isfinite(part).all(axis=1)] = np.nan
    return found


def _ranks(maps: Array) -> Array:
    order, differs = _ordered(maps)
    place = np.arange(maps.shape[1], dtype=np.int32)
    if differs.all():
        mean = np.broadcast_to((place + 1).astype(np.float32), maps.shape)
    else:
        edge = np.ones((len(maps), 1), bool)
        first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), place, 0), axis=1)
        last = np.minimum.accumulate(np.where(np.hstack([differs, edge]), place, len(place))[:, ::-1], axis=1)[:, ::-1]
        mean = ((first + last) / 2 + 1).astype(np.float32)
    found = np.empty(maps.shape, np.float32)
    order += maps.shape[1] * np.arange(len(maps))[:, None]
    found.reshape(-1)[order] = mean
    return found


def _ordered(maps: Array) -> tuple[Array, Array]:
    """Which element comes when by its value, in any order where values are equal; and where a value differs from the last.

    Half of each word of a float32 map is the value, as an integer that rises with it, the other half the element: words sort
    three times as fast as an argsort.
    """
    if maps.dtype != np.float32:
        order = np.argsort(maps, axis=1)
        ascending = np.take_along_axis(maps, order, axis=1)
        return order, ascending[:, 1:] != ascending[:, :-1]
    bits = (maps + np.float32(0)).view(np.int32)  # -0 + 0 is 0
    rising = bits ^ ((bits >> 31) & _SIGNLESS)
    words = (rising.astype(np.int64) << 32) | np.arange(maps.shape[1])
    words.sort(axis=1)
    values = words >> 32
    return words & 0xFFFFFFFF, values[:, 1:] != values[:, :-1]
