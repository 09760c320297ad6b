"""Similarity of pictures: SSIM, and histograms of oriented gradients. Vectorised over items."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from explainsvc.autograd.shapes import Array

SIGMA, RADIUS = 1.5, 5
"""Of SSIM's gaussian window, 11 × 11 (Wang et al. 2004, section III-B)."""
WINDOW = 2 * RADIUS + 1
BAND = 32
"""Places of the window that are computed by one product."""
K1, K2 = 0.01, 0.03
CELL, ORIENTATIONS, BLOCK = 16, 9, 3
"""Cells of 16 × 16 pixels (Adebayo et al. 2018, section 4); orientations and blocks as in scikit-image."""
CLIP, EPSILON = 0.2, 1e-5
"""L2-Hys (Dalal & Triggs 2005, section 6.4)."""
LEAST = 2 * CELL
"""Side of a picture that has a HOG: the nine numbers of a single cell are nearly all clipped, and rank alike."""


@dataclass(frozen=True)
class Windows:
    """Pictures [item, channel, height, width] in 0…1, and the mean and variance under SSIM's window where it fits."""

    pictures: Array
    mean: Array
    variance: Array


def windows(pictures: Array) -> Windows:
    """What SSIM asks of one side: pictures in 0…1, at least 11 × 11."""
    mean, square = np.empty((2, *_fitting(pictures)), np.float32)
    for i, x in enumerate(pictures.astype(np.float64, copy=False)):
        blurred = _blurred(x)
        mean[i], square[i] = blurred, _blurred(x * x) - blurred**2
    return Windows(pictures, mean, square)


def ssim(a: Windows, b: Windows) -> Array:
    """Structural similarity (Wang et al. 2004, eq. 13), the mean over positions and channels.

    Returns:
        float64 [item]; NaN where a picture has one value only.
    """
    return np.array([_ssim(a, b, i) for i in range(len(a.pictures))], np.float64)


def _ssim(a: Windows, b: Windows, item: int) -> float:
    x, y = a.pictures[item], b.pictures[item]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    mean_x, mean_y = a.mean[item].astype(np.float64), b.mean[item].astype(np.float64)
    means = mean_x * mean_y
    covariance = _blurred(np.multiply(x, y, dtype=np.float64)) - means
    c1, c2 = K1**2, K2**2
    above = (2 * means + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (a.variance[item] + b.variance[item] + c2)
    return float((above / below).mean())


def _fitting(pictures: Array) -> tuple[int, ...]:
    *rest, height, width = pictures.shape
    return (*rest, height - WINDOW + 1, width - WINDOW + 1)


def _blurred(planes: Array) -> Array:
    """Planes [channel, height, width] under the gaussian window, where it lies inside the picture.

    As products with a band of the window, ``BAND`` places at a time: of 28 × 28 pixels three times as fast as a filter that
    walks, of photographs as fast.
    """
    down = np.concatenate([_band(part.shape[1]) @ part for part in _parts(planes, 1)], axis=1)
    return np.concatenate([part @ _band(part.shape[2]).T for part in _parts(down, 2)], axis=2)


def _parts(planes: Array, axis: int) -> Iterator[Array]:
    """What ``BAND`` places of the window see, and then the next ones."""
    for start in range(0, planes.shape[axis] - WINDOW + 1, BAND):
        stop = start + BAND + WINDOW - 1
        yield planes[:, start:stop] if axis == 1 else planes[:, :, start:stop]


@lru_cache(maxsize=64)
def _band(length: int) -> Array:
    """[place, pixel]: the window's weights at every place within a length."""
    rows = np.zeros((length - WINDOW + 1, length))
    for place, row in enumerate(rows):
        row[place : place + WINDOW] = _window()
    return rows


def _window() -> Array:
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    return np.asarray(weights / weights.sum())


def hog(planes: Array) -> Array:
    """Histograms of oriented gradients (Dalal & Triggs 2005), normalised by blocks.

    Args:
        planes: [item, channel, height, width], at least 32 × 32; a pixel's gradient is that of the channel where it is largest.

    Returns:
        float64 [item, feature]; a remainder of the picture that fills no cell is left out, as blocks are at most all cells.
    """
    cells = np.concatenate([_cells(*_gradient(plane[None].astype(np.float64))) for plane in planes])
    rows, columns = (min(BLOCK, n) for n in cells.shape[1:3])
    blocks = np.lib.stride_tricks.sliding_window_view(cells, (rows, columns), axis=(1, 2))
    blocks = np.moveaxis(blocks, 3, -1)  # [item, down, right, row of the block, column, orientation]
    flat = blocks.reshape(*blocks.shape[:3], -1)
    clipped = np.minimum(_unit(flat), CLIP)
    return np.asarray(_unit(clipped).reshape(len(planes), -1))


def _unit(blocks: Array) -> Array:
    return np.asarray(blocks / np.sqrt(np.square(blocks).sum(axis=-1, keepdims=True) + EPSILON**2))


def _gradient(planes: Array) -> tuple[Array, Array]:
    """Central differences down and right, zero at the borders: [item, height, width]."""
    items, channels, height, width = planes.shape
    down, right = np.zeros((2, items, height, width))
    steepest = np.full((items, height, width), -1.0)
    for channel in range(channels):
        plane = planes[:, channel]
        own_down, own_right = np.zeros((2, items, height, width))
        np.subtract(plane[:, 2:], plane[:, :-2], out=own_down[:, 1:-1])
        np.subtract(plane[..., 2:], plane[..., :-2], out=own_right[..., 1:-1])
        square = own_down**2 + own_right**2
        steeper = square > steepest
        for kept, own in ((down, own_down), (right, own_right), (steepest, square)):
            np.copyto(kept, own, where=steeper)
    return down, right


def _cells(down: Array, right: Array) -> Array:
    """Mean magnitude per cell and orientation of 20°, without sign: [item, row, column, orientation]."""
    items, height, width = down.shape
    rows, columns = height // CELL, width // CELL
    down, right = (g[:, : rows * CELL, : columns * CELL] for g in (down, right))
    bins = np.floor(np.rad2deg(np.arctan2(down, right)) % 180 / (180 / ORIENTATIONS)).astype(np.int64) % ORIENTATIONS
    place = np.arange(items)[:, None, None] * rows + np.arange(rows * CELL)[:, None] // CELL
    place = (place * columns + np.arange(columns * CELL) // CELL) * ORIENTATIONS + bins
    sums = np.bincount(place.reshape(-1), np.sqrt(down**2 + right**2).reshape(-1), items * rows * columns * ORIENTATIONS)
    return np.asarray(sums.reshape(items, rows, columns, ORIENTATIONS) / CELL**2)
