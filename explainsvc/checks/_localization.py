"""Measures of relevance on an object: pixels [item, height, width] and masks, one number per item, NaN without an object."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.methods.sobel import spatial_axes


def per_pixel(values: Array, shape: tuple[int, ...]) -> Array:
    """Σ of a map over its channels, float64 [item, height, width]; ``shape`` is [item, *item shape]."""
    axes = _axes(shape)
    others = tuple(axis for axis in range(1, len(shape)) if axis not in axes)
    return np.asarray(values.reshape(shape).astype(np.float64).sum(axis=others))


def _axes(shape: tuple[int, ...]) -> tuple[int, int]:
    axes = spatial_axes(shape[1:])
    if axes is None:
        raise MethodNotApplicable(
            f"the explained input has items of shape {list(shape[1:])}, which are no pictures",
            where="check localization",
            expected="[C, H, W], [H, W, C] or [H, W]",
        )
    return axes[0] + 1, axes[1] + 1


def object_masks(given: Any, shape: tuple[int, ...], name: str) -> Array:
    """Where the objects are, bool [item, height, width].

    Raises:
        InvalidParameter: No masks, or masks of another shape.
        MethodNotApplicable: The input is no picture.
    """
    axes = _axes(shape)
    small = (shape[0], shape[axes[0]], shape[axes[1]])
    if given is None:
        raise _bad(f"is missing: {list(small)}, true or not 0 where the object is")
    masks = np.asarray(given) != 0
    if masks.shape == small:
        return np.asarray(masks)
    if masks.shape != shape:
        raise _bad(f'has shape {list(masks.shape)}, expected {list(small)} or {list(shape)}, that of "{name}"')
    return np.asarray(masks.any(axis=tuple(axis for axis in range(1, len(shape)) if axis not in axes)))


def widened(objects: Array, pixels: int) -> Array:
    """The masks with that many pixels around them (a disc, as the circle of Zhang et al. 2018)."""
    if pixels == 0:
        return objects
    far = np.stack([ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf) for mask in objects])
    return np.asarray(far <= pixels)


def pointing_game(pixels: Array, objects: Array) -> Array:
    """Share of the largest pixels (one, unless there are ties) that lie on the object (Zhang et al. 2018)."""
    return top_share(pixels, objects, np.ones(len(pixels), int))


def mass_accuracy(pixels: Array, objects: Array) -> Array:
    """Positive relevance on the object over all positive relevance (Arras et al. 2022)."""
    positive = np.maximum(pixels, 0)
    total, inside = (a.sum(axis=(1, 2)) for a in (positive, positive * objects))
    return np.asarray(np.divide(inside, total, out=np.full(len(total), np.nan), where=(total > 0) & objects.any(axis=(1, 2))))


def rank_accuracy(pixels: Array, objects: Array) -> Array:
    """Share of the K largest pixels on the object of K pixels (Arras et al. 2022)."""
    return top_share(pixels, objects, objects.sum(axis=(1, 2)))


def top_share(pixels: Array, objects: Array, k: Array) -> Array:
    """Share of the ``k`` largest pixels of each item on its object; ties at the last place count by their mean."""
    return np.array([_top_share(p.ravel(), o.ravel(), int(n)) for p, o, n in zip(pixels, objects, k, strict=True)])


def _top_share(pixels: Array, inside: Array, k: int) -> float:
    k = min(k, len(pixels))
    if k == 0 or not inside.any():
        return float("nan")
    least = np.partition(pixels, len(pixels) - k)[len(pixels) - k]
    sure, tied = pixels > least, pixels == least
    left = k - int(sure.sum())
    return float((inside[sure].sum() + left * inside[tied].mean()) / k) if tied.any() else float("nan")


def auc(pixels: Array, objects: Array) -> Array:
    """Probability that a pixel on the object has more relevance than one beside it, ties half: the area under the ROC curve."""
    flat, inside = pixels.reshape(len(pixels), -1), objects.reshape(len(objects), -1)
    m = inside.sum(axis=1)
    pairs = m * (inside.shape[1] - m)
    above = (rankdata(flat, axis=1) * inside).sum(axis=1) - m * (m + 1) / 2
    return np.asarray(np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the masks are not valid", violations=[Violation("parameters.masks", description)])
