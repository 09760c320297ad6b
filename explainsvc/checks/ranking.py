"""Mean ranks of many maps at once, as scipy.stats.rankdata gives them one by one."""

from __future__ import annotations

import sys
import timeit
from functools import cache

import numpy as np

from explainsvc.autograd.shapes import Array

CHUNK_ELEMENTS = 2**16
"""Ranked or correlated at a time: the dozen arrays that this takes stay in the processor's cache."""
LONG = 2048
"""Elements of an item from which on counting beats comparing, where words do not sort faster still (_compares_fast)."""
_SIGNLESS = np.int32(0x7FFFFFFF)
_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)
"""Place of the halves of a word of 64 bits."""


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
    items, count = maps.shape
    place = np.arange(1, count + 1, dtype=np.float32)
    in_order = np.broadcast_to(place, maps.shape) if differs.all() else _shared(place, differs)
    found = np.empty(maps.size, np.float32)
    found[(order + count * np.arange(items)[:, None]).reshape(-1)] = in_order.reshape(-1)
    return found.reshape(maps.shape)


def _shared(place: Array, differs: Array) -> Array:
    """Places 1, 2, … of values in rising order, those of equal values replaced by their mean; [item, place]."""
    items, count = len(differs), len(place)
    if np.count_nonzero(differs) < 7 / 8 * differs.size:
        starts = np.ones((items, count), bool)
        starts[:, 1:] = differs
        first = np.flatnonzero(starts)  # of each run of equal values, over all items
        lengths = np.diff(first, append=starts.size)
        return np.repeat((first % count + (lengths + 1) / 2).astype(np.float32), lengths).reshape(items, count)
    item, at = np.nonzero(~differs)  # equal to the next
    found, pairs = np.tile(place, (items, 1)), item * count + at
    start = np.flatnonzero(np.diff(pairs, prepend=-2) != 1)  # of each run, among the pairs
    lengths = np.diff(start, append=len(pairs)) + 1
    mean = (pairs[start] % count + (lengths + 1) / 2).astype(np.float32)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found.reshape(-1)[np.repeat(pairs[start], lengths) + within] = np.repeat(mean, lengths)
    return found


def _ordered(maps: Array) -> tuple[Array, Array]:
    """Which element comes when by its value, in any order where values are equal; and where a value differs from the last."""
    if maps.dtype != np.float32:
        order = np.argsort(maps, axis=1)
        ascending = np.take_along_axis(maps, order, axis=1)
        return order, ascending[:, 1:] != ascending[:, :-1]
    bits = (maps + np.float32(0)).view(np.int32)  # -0 + 0 is 0
    rising = bits ^ ((bits >> 31) & _SIGNLESS)
    if maps.shape[1] < LONG or _compares_fast():
        return _by_words(rising)
    order, ascending = (np.stack(parts) for parts in zip(*map(_by_digits, rising), strict=True))
    return order, ascending[:, 1:] != ascending[:, :-1]


@cache
def _compares_fast() -> bool:
    """Whether words are the faster way here: half of what digits take on one machine, three times as much on another."""
    values = np.random.default_rng(0).integers(0, 2**31, 2**15, np.int32)
    ways = (lambda: _by_words(values[None]), lambda: _by_digits(values))
    words, digits = (min(timeit.repeat(way, number=1, repeat=5)) for way in ways)
    return words < digits


def _by_words(values: Array) -> tuple[Array, Array]:
    """Half of each word is the value, the other half the element: words sort three times as fast as an argsort."""
    halves = np.empty((*values.shape, 2), np.int32)
    halves[..., _LOW] = np.arange(values.shape[1], dtype=np.int32)
    halves[..., _HIGH] = values
    halves.view(np.int64)[..., 0].sort(axis=1)
    ascending = halves[..., _HIGH]
    return halves[..., _LOW], ascending[:, 1:] != ascending[:, :-1]


def _by_digits(values: Array) -> tuple[Array, Array]:
    """The order of one item and its values in it, by their lower 16 bits and then by the upper ones.

    numpy sorts 16 bits by counting: a third of what words take.
    """
    order = np.argsort(values.astype(np.uint16), kind="stable")
    order = order[np.argsort((values >> 16).astype(np.int16)[order], kind="stable")]
    return order, values[order]
