"""Similarities of two batches of maps: one number per item, NaN with a reason where it does not exist."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from explainsvc.autograd.shapes import Array

Similarity = Callable[[Array, Array], Array]
"""Two arrays [item, element] → float64 [item]."""

CHUNK_ELEMENTS = 2**21
"""Ranked at a time: ranking takes a few copies in float64."""


def spearman(a: Array, b: Array) -> Array:
    """Rank correlation per item, ties at their mean rank; NaN where a map is constant or not finite."""
    rows = max(1, CHUNK_ELEMENTS // max(1, a.shape[1]))
    parts = [_spearman(a[i : i + rows], b[i : i + rows]) for i in range(0, len(a), rows)]
    return np.concatenate(parts) if parts else np.empty(0)


def spearman_abs(a: Array, b: Array) -> Array:
    """Rank correlation of the magnitudes."""
    return spearman(np.abs(a), np.abs(b))


def _spearman(a: Array, b: Array) -> Array:
    return correlation(_ranks(a), _ranks(b))


def _ranks(maps: Array) -> Array:
    """Mean ranks per item; NaN for all of an item that holds a NaN or infinity.

    As scipy.stats.rankdata, which sorts stably: four times slower on maps of pictures, and ties need no order.
    """
    order = np.argsort(maps, axis=1)
    ascending = np.take_along_axis(maps, order, axis=1)
    place = np.arange(maps.shape[1])
    differs = ascending[:, 1:] != ascending[:, :-1]
    edge = np.ones((len(maps), 1), bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), place, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([differs, edge]), place, len(place))[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(maps.shape, np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    ranks[~np.isfinite(maps).all(axis=1)] = np.nan
    return ranks


def correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation per item; NaN where either is constant or not finite."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    # asked of the values themselves: the mean of equal floats may differ from them in the last digit
    exists = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(x).sum(axis=1) * np.square(y).sum(axis=1))
    return np.asarray(np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=exists & (scale > 0)))


SIMILARITIES: dict[str, Similarity] = {"spearman_abs": spearman_abs, "spearman": spearman}


def missing(values: Array, a: Array, b: Array) -> str:
    """In words, how many items have no similarity and why; "" where all have."""
    lost = np.isnan(values)
    broken = lost & ~(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    reasons = {"a constant map": int(lost.sum() - broken.sum()), "NaN or infinity in a map": int(broken.sum())}
    words = [f"{count} of {len(values)} inputs left out: {reason}" for reason, count in reasons.items() if count]
    return "; ".join(words)
