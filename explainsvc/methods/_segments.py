"""Segments of an image at several scales, for XRAI."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage

from explainsvc.autograd.shapes import Array

SIDE = 224
"""Images are segmented at this size, for which the constants were chosen (PAIR's xrai.py)."""
SCALES = (50, 100, 150, 250, 500, 1200)
SIGMA = 0.8
MIN_SIZE = 150
"""Felzenszwalb's parameters, in pixels of SIDE × SIDE (PAIR's xrai.py)."""
DILATION = 5
"""Radius by which every segment grows, so that it includes its edges, in pixels of SIDE × SIDE (PAIR's xrai.py)."""


def segments(image: Array) -> Array:
    """Felzenszwalb & Huttenlocher 2004 at six scales: bool [segments, H · W] of one image [H, W, C]; they overlap."""
    from skimage.segmentation import felzenszwalb  # half a second that nobody else waits for

    small = _resized(_normalised(image), (SIDE, SIDE), 3)
    masks = []
    for scale in SCALES:
        with warnings.catch_warnings():  # skimage doubts images of 4 channels
            warnings.filterwarnings("ignore", "Got image with third dimension")
            labels = felzenszwalb(small, scale=scale, sigma=SIGMA, min_size=MIN_SIZE)
        labels = _resized(labels, image.shape[:2], 0).astype(int)
        masks += [labels == label for label in np.unique(labels)]
    disk = _disk(round(DILATION * np.sqrt(image.shape[0] * image.shape[1]) / SIDE))
    return np.stack([ndimage.binary_dilation(mask, disk).reshape(-1) for mask in masks])


def _disk(radius: int) -> Array:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(rows**2 + columns**2 <= radius**2)


def _normalised(image: Array) -> Array:
    """On a scale of −1 to 1."""
    low, span = image.min(), float(np.ptp(image))
    return np.asarray(2 * (image - low) / (span if span > 0 else 1.0) - 1)


def _resized(image: Array, size: tuple[int, ...], order: int) -> Array:
    from skimage.transform import resize

    options = {"order": order, "mode": "constant", "preserve_range": True, "anti_aliasing": order > 0}
    return np.asarray(resize(image, size, **options))  # type: ignore[no-untyped-call]  # skimage has no types
