"""Pools over regions of interest, and MaxUnpool.

Definitions are onnxruntime's. The mode "max" of RoiAlign is no maximum over interpolated samples, but over single
neighbours times their bilinear weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from explainsvc.autograd.emit import Term
from explainsvc.autograd.pullback import pullback
from explainsvc.autograd.registry import vjp, vjp_all
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sampling import as_float, bilinear, cells, first_largest, scalar, unsqueezed
from explainsvc.autograd.vjps.sizes import INT64, dims, flat, reshape_to, upto, vector

NEVER = -1e30
"""Stands in a maximum for what is not there."""


class Samples(NamedTuple):
    """Along one axis [regions, pooled, samples]: coordinates in pixels, which exist, and how many a bin has."""

    at: Term
    exist: Term
    number: Term


@vjp_all("RoiAlign")
def _roi_align(n: NodeView, g: Term) -> dict[int, Term | None]:
    """To the image by the weights of the samples; to the corners of the regions by the slopes of the weights."""
    return dict(pullback(n, _aligned, g))


def _aligned(n: NodeView, images: Term, rois: Term, batch: Term) -> Term:
    emit, height, width = n.emit, dims(images, [2]), dims(images, [3])
    down, across = _samples(n, rois, 1, height), _samples(n, rois, 0, width)
    first = unsqueezed(batch * (height * width), 1, 2, 3, 4)
    y, x = unsqueezed(down.at, 2, 4), unsqueezed(across.at, 1, 3)
    exist = unsqueezed(emit.op("And", unsqueezed(down.exist, 2, 4), unsqueezed(across.exist, 1, 3)), -2, -1)
    seen = _seen(y, height), _seen(x, width)
    taps = bilinear(cells(images), first, *seen, height, width) * _visible(y, x, height, width)
    if n.attr("mode", "avg") == "avg":
        total = emit.sum(emit.where(exist, taps, 0.0), [3, 4, 5], keepdims=False)
        pooled = total / unsqueezed(emit.op("Max", down.number * across.number, 1.0), 2, 3)
    else:
        pooled = first_largest(_in_one_axis(emit.where(exist, taps, NEVER)), 3)
    return emit.op("Transpose", pooled, perm=[0, 3, 1, 2], shape=n.y.shape)


def _samples(n: NodeView, rois: Term, axis: int, length: Term) -> Samples:
    """Where the samples of all bins lie along ``axis`` (0: x, 1: y)."""
    emit, pooled = n.emit, n.attr(("output_width", "output_height")[axis], 1)
    half_pixel = n.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    begin, end = (emit.op("Gather", rois, emit.ints([i]), axis=1) * n.attr("spatial_scale", 1.0) for i in (axis, axis + 2))
    extent = end - begin if half_pixel else emit.op("Max", end - begin, 1.0)
    one = extent / float(pooled)
    ratio = n.attr("sampling_ratio", 0)
    count = one * 0 + ratio if ratio > 0 else emit.op("Max", emit.op("Ceil", one), 0.0)
    most = emit.cast(emit.op("ReduceMax", emit.op("Max", count, 1.0), keepdims=0), INT64)
    step = as_float(upto(vector(most)), rois)
    bins = emit.constant(np.arange(pooled)[:, None], (rois.dtype or emit.float_type).numpy())
    inner = (step + 0.5) / unsqueezed(emit.op("Max", count, 1.0), 2)
    at = unsqueezed(begin - 0.5 if half_pixel else begin, 2) + (bins + inner) * unsqueezed(one, 2)
    return Samples(at, step < unsqueezed(count, 2), count)


def _seen(at: Term, length: Term) -> Term:
    """Samples up to a pixel outside of the image see its border."""
    return at.emit.op("Clip", at, 0.0, scalar(as_float(length - at.emit.ints([1]), at)))


def _visible(y: Term, x: Term, height: Term, width: Term) -> Term:
    """0 for samples further away, 1 for all others, [..., 1, 1]."""
    near = [t.emit.op("And", t >= -1.0, t <= as_float(s, t)) for t, s in ((y, height), (x, width))]
    return unsqueezed(y.emit.mask(y.emit.op("And", *near), y), -2, -1)


def _in_one_axis(taps: Term) -> Term:
    """[regions, height, width, …, channels] → [regions, height, width, all, channels]."""
    last = taps.emit.op("Shape", taps, dtype=INT64, shape=(1,), start=-1)
    return reshape_to(taps, taps.emit.ints([0, 0, 0, -1]), last)


# MaxRoiPool -------------------------------------------------------------------------------------------------------


@vjp_all("MaxRoiPool")
def _max_roi_pool(n: NodeView, g: Term) -> dict[int, Term | None]:
    """To the first largest cell of every bin. Regions are rounded to whole cells, so that nothing goes to them."""
    return dict(pullback(n, _pooled, g))


def _pooled(n: NodeView, images: Term, rois: Term) -> Term:
    emit, height, width = n.emit, dims(images, [2]), dims(images, [3])
    batch = emit.cast(_corner(rois, 0), INT64)
    rows, columns = _bins(n, rois, 1, height), _bins(n, rois, 0, width)
    first = unsqueezed(batch * (height * width), 2, 3, 4)
    places = first + unsqueezed(rows[0], 2, 4) * width + unsqueezed(columns[0], 1, 3)
    exist = unsqueezed(emit.op("And", unsqueezed(rows[1], 2, 4), unsqueezed(columns[1], 1, 3)), -1)
    picked = emit.op("Gather", cells(images), places, axis=0)
    largest = first_largest(_in_one_axis(emit.where(exist, picked, NEVER)), 3)
    return emit.op("Transpose", emit.where(largest > NEVER, largest, 0.0), perm=[0, 3, 1, 2], shape=n.y.shape)


def _corner(rois: Term, column: int) -> Term:
    return rois.emit.op("Gather", rois, rois.emit.ints([column]), axis=1)


def _bins(n: NodeView, rois: Term, axis: int, length: Term) -> tuple[Term, Term]:
    """Cells of all bins along ``axis`` (0: x, 1: y), [regions, pooled, cells], and which of them exist."""
    emit, pooled = n.emit, n.attr("pooled_shape")[1 - axis]
    begin, end = (emit.op("Floor", _corner(rois, i) * n.attr("spatial_scale", 1.0) + 0.5) for i in (1 + axis, 3 + axis))
    one = emit.op("Max", end - begin + 1, 1.0) / float(pooled)
    bins, size = emit.constant(np.arange(pooled), (rois.dtype or emit.float_type).numpy()), as_float(length, rois)
    start, stop = (emit.op("Min", emit.op("Max", edge + begin, 0.0), size) for edge in
                   (emit.op("Floor", bins * one), emit.op("Ceil", (bins + 1) * one)))  # fmt: skip
    most = emit.op("Max", emit.op("ReduceMax", stop - start, keepdims=0), 1.0)
    at = unsqueezed(start, 2) + as_float(upto(vector(emit.cast(most, INT64))), rois)
    cell = emit.op("Max", emit.op("Min", at, size - 1), 0.0)
    return emit.cast(cell, INT64), at < unsqueezed(stop, 2)


# MaxUnpool --------------------------------------------------------------------------------------------------------


@vjp("MaxUnpool")
def _max_unpool(n: NodeView, g: Term) -> Term:
    """From the places where the elements were put; of several put at one place, only the last one is there."""
    emit, places = n.emit, flat(n.input(1))
    numbers = upto(emit.op("Shape", places, dtype=INT64, shape=(1,)))
    nobody = emit.cast(flat(emit.zeros_like(n.y)), INT64)
    owners = emit.op("Gather", emit.op("ScatterElements", nobody, places, numbers, axis=0), places, axis=0)
    arrived = emit.op("Gather", flat(g), places, axis=0)
    return emit.reshape_like(emit.where(owners.equals(numbers), arrived, 0.0), n.x)
