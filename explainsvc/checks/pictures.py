"""Similarity of pictures: SSIM, and histograms of oriented gradients. Vectorised over items."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from explainsvc.autograd.shapes import Array

SIGMA, RADIUS = 1.5, 5
"""Of SSIM's gaussian window, 11 × 11 (Wang et al. 2004, section III-B)."""
WINDOW = 2 * RADIUS + 1
K1, K2 = 0.01, 0.03
CELL, ORIENTATIONS, BLOCK = 16, 9, 3
"""Cells of 16 × 16 pixels (Adebayo et al. 2018, section 4); orientations and blocks as in scikit-image."""
CLIP, EPSILON = 0.2, 1e-5
"""L2-Hys (Dalal & Triggs 2005, section 6.4)."""
LEAST = 2 * CELL
"""Side of a picture that has a HOG: the nine numbers of a single cell are nearly all clipped, and rank alike."""


def ssim(a: Array, b: Array) -> Array:
    """Structural similarity (Wang et al. 2004, eq. 13), the mean over positions and channels.

    Args:
        a: [item, channel, height, width] in 0…1, at least 11 × 11.
        b: Of the same shape.

    Returns:
        float64 [item]; NaN where a picture has one value only.
    """
    return np.array([_ssim(x, y) for x, y in zip(a, b, strict=True)], np.float64)


def _ssim(a: Array, b: Array) -> float:
    """Of one item: the five filtered planes of all items at once would be forty times a picture's maps."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())


def _blurred(planes: Array) -> Array:
    """Under the window, where it lies inside the picture."""
    found = ndimage.gaussian_filter(planes, (0, SIGMA, SIGMA), radius=(0, RADIUS, RADIUS))
    return np.asarray(found[:, RADIUS:-RADIUS, RADIUS:-RADIUS])


def hog(planes: Array) -> Array:
    """Histograms of oriented gradients (Dalal & Triggs 2005), normalised by blocks.

    Args:
        planes: [item, channel, height, width], at least 32 × 32; a pixel's gradient is that of the channel where it is largest.

    Returns:
        float64 [item, feature]; a remainder of the picture that fills no cell is left out, as blocks are at most all cells.
    """
    cells = _cells(*_gradient(planes.astype(np.float64)))
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
    down, right = np.zeros_like(planes), np.zeros_like(planes)
    down[:, :, 1:-1] = planes[:, :, 2:] - planes[:, :, :-2]
    right[..., 1:-1] = planes[..., 2:] - planes[..., :-2]
    strongest = np.hypot(down, right).argmax(axis=1)[:, None]
    return tuple(np.take_along_axis(g, strongest, axis=1)[:, 0] for g in (down, right))  # type: ignore[return-value]


def _cells(down: Array, right: Array) -> Array:
    """Mean magnitude per cell and orientation of 20°, without sign: [item, row, column, orientation]."""
    items, height, width = down.shape
    rows, columns = height // CELL, width // CELL
    down, right = (g[:, : rows * CELL, : columns * CELL] for g in (down, right))
    bins = np.floor(np.rad2deg(np.arctan2(down, right)) % 180 / (180 / ORIENTATIONS)).astype(np.int64) % ORIENTATIONS
    place = np.arange(items)[:, None, None] * rows + np.arange(rows * CELL)[:, None] // CELL
    place = (place * columns + np.arange(columns * CELL) // CELL) * ORIENTATIONS + bins
    sums = np.bincount(place.reshape(-1), np.hypot(down, right).reshape(-1), items * rows * columns * ORIENTATIONS)
    return np.asarray(sums.reshape(items, rows, columns, ORIENTATIONS) / CELL**2)
