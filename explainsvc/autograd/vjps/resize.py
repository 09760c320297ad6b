"""Resize is linear and separable: one interpolation matrix an axis, the same that onnxruntime uses.

The matrix comes from the operator itself, run on the identity: its modes, rounding and coordinate transformations
are thereby those of the forward pass, whatever the sizes are. Where shapes are static, onnxruntime folds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import INT64, dims, element, identity, joined, known, reshape_to, upto
from explainsvc.errors import NotDifferentiable

_MODES = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
)

_WHOLE_BLOCKS = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
}
"""(coordinate transformation, rounding) with which nearest enlargement s times repeats every element s times."""


@vjp("Resize")
def _resize(n: NodeView, g: Term) -> Term:
    rank = n.x.rank
    if rank is None:
        raise NotDifferentiable("the rank of the input is unknown", where=n.where(), expected="a model with known ranks")
    axes = [a % rank for a in n.attr("axes", range(rank))]
    changed = [(k, a) for k, a in enumerate(axes) if not _unchanged(n, k, a)]
    factors = _whole_factors(n, {a: k for k, a in changed})
    if factors is not None:
        return _block_sums(n, g, factors)
    for k, axis in changed:
        g = along(g, axis, _matrix(n, k, axis, len(axes)), rank)
    return g.like(n.x) if changed else g


def _unchanged(n: NodeView, k: int, axis: int) -> bool:
    """Whether the ``k``-th resized axis surely is left as it is."""
    before, after = (None if t.shape is None else t.shape[axis] for t in (n.x, n.y))
    same = before is not None and before == after
    if n.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return same and _outside_of_kernel(n, axis)
    if not n.has(3):
        scales = n.const(2)
        return scales is not None and float(scales[k]) == 1.0
    return same and not _keeps_aspect(n)


def _outside_of_kernel(n: NodeView, axis: int) -> bool:
    """Batch and channels, which onnxruntime's linear and cubic kernels never interpolate, whatever the region says."""
    rank = n.x.rank or 0
    return n.attr("mode", "nearest") != "nearest" and rank in (4, 5) and axis < 2


def _keeps_aspect(n: NodeView) -> bool:
    """Whether the sizes are only a bound, and all axes have one scale."""
    return n.has(3) and n.attr("keep_aspect_ratio_policy", "stretch") != "stretch"


# Nearest by whole factors -----------------------------------------------------------------------------------------


def _whole_factors(n: NodeView, changed: dict[int, int]) -> dict[int, int] | None:
    """Axis → s where every element is repeated s times, None where it is not that simple."""
    rounding = (n.attr("coordinate_transformation_mode", "half_pixel"), n.attr("nearest_mode", "round_prefer_floor"))
    simple = n.attr("mode", "nearest") == "nearest" and rounding in _WHOLE_BLOCKS and not _keeps_aspect(n)
    if not simple or n.x.shape is None or n.y.shape is None or (not n.has(3) and n.const(2) is None):
        return None
    factors = {}
    for axis, k in changed.items():
        before, after, scales = n.x.shape[axis], n.y.shape[axis], None if n.has(3) else n.const(2)
        if not isinstance(before, int) or not isinstance(after, int) or before == 0 or after % before:
            return None
        factors[axis] = after // before
        if scales is not None and float(scales[k]) != factors[axis]:
            return None
    return factors


def _block_sums(n: NodeView, g: Term, factors: dict[int, int]) -> Term:
    if not factors:
        return g
    emit, first, parts, axes = n.emit, min(factors), [], []
    for axis in range(n.x.rank or 0):
        parts.append(emit.ints([0]) if axis < first else dims(n.x, [axis]))
        if axis in factors:
            axes.append(len(parts))
            parts.append(emit.ints([factors[axis]]))
    return emit.op("ReduceSum", reshape_to(g, *parts), emit.ints(axes), shape=n.x.shape, keepdims=0)


# Everything else --------------------------------------------------------------------------------------------------


def along(g: Term, axis: int, matrix: Term, rank: int) -> Term:
    """``matrix`` [to, from] applied along one axis of ``g``."""
    emit = g.emit
    shape = None if g.shape is None or matrix.shape is None else (*g.shape[:axis], matrix.shape[0], *g.shape[axis + 1 :])
    if axis == rank - 2:
        return emit.op("MatMul", matrix, g, shape=shape)
    flipped = emit.op("Transpose", matrix, perm=[1, 0])
    if axis == rank - 1:
        return emit.op("MatMul", g, flipped, shape=shape)
    swap = list(range(rank))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    product = emit.op("MatMul", emit.op("Transpose", g, perm=swap), flipped)
    return emit.op("Transpose", product, shape=shape, perm=swap)


def _matrix(n: NodeView, k: int, axis: int, count: int) -> Term:
    """[before, after]: how much every element weighs in every result along the ``k``-th resized axis."""
    weights = _of_block(n, k, count) if _keeps_aspect(n) else _of_axis(n, k, axis, count)
    before, after = (None if t.shape is None else t.shape[axis] for t in (n.x, n.y))
    weights.value.shape = ir.Shape((before, after))
    return weights if n.x.dtype in (None, ir.DataType.FLOAT) else n.emit.cast(weights, n.x.dtype)


def _of_axis(n: NodeView, k: int, axis: int, count: int) -> Term:
    """The operator on the identity, [1, 1, before, before], whose last axis it resizes."""
    emit, size = n.emit, dims(n.x, [axis])
    roi = scales = sizes = None
    if n.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        crop = _floats(n.input(1))
        roi = joined(_floating(n, 0, 0, 0), element(crop, k), _floating(n, 1, 1, 1), element(crop, k + count))
    if n.has(3):
        sizes = joined(emit.ints([1, 1]), size, dims(n.y, [axis]))
    else:
        scales = joined(_floating(n, 1, 1, 1), element(n.input(2), k))
    diagonal = emit.op("Unsqueeze", identity(size), emit.ints([0, 1]))
    resized = emit.op("Resize", diagonal, roi, scales, sizes, **_modes(n, policy=False))
    return emit.op("Squeeze", resized, emit.ints([0, 1]))


def _of_block(n: NodeView, k: int, count: int) -> Term:
    """The operator on the identity along one axis, repeated along the others, which decide the scale with it."""
    emit, axes = n.emit, [a % (n.x.rank or 1) for a in n.attr("axes", range(n.x.rank or 0))]
    size = dims(n.x, [axes[k]])
    column = reshape_to(identity(size), size, *(size if j == k else emit.ints([1]) for j in range(-1, count)))
    block = emit.op("Expand", column, joined(size, emit.ints([1]), dims(n.x, axes)))
    roi = _floats(n.input(1)) if n.has(1) else None
    resized = emit.op("Resize", block, roi, None, n.input(3), axes=[2 + j for j in range(count)], **_modes(n, policy=True))
    others = [2 + j for j in range(count) if j != k]
    first = emit.op("Slice", resized, emit.ints([0] * len(others)), emit.ints([1] * len(others)), emit.ints(others))
    return emit.op("Squeeze", first, emit.ints([1, *others]))


def _modes(n: NodeView, policy: bool) -> dict[str, Any]:
    """The node's own modes; beyond a crop it gives zero, because a constant there has no derivative."""
    return {k: n.attr(k) for k in _MODES if policy or k != "keep_aspect_ratio_policy"}


def _floating(n: NodeView, *values: float) -> Term:
    return n.emit.constant(values, np.float32)


def _floats(term: Term) -> Term:
    """The region of interest as float32, whatever float type it came in."""
    array = known(term)
    if array is not None:
        return term.emit.constant(array, np.float32)
    return term if term.dtype == ir.DataType.FLOAT else term.emit.cast(term, ir.DataType.FLOAT)


# The region of interest -------------------------------------------------------------------------------------------


@vjp("Resize", 1)
def _roi(n: NodeView, g: Term) -> Term | None:
    """How the weights change as the crop moves: only tf_crop_and_resize reads it, and only linear has slopes here."""
    if n.attr("coordinate_transformation_mode") != "tf_crop_and_resize" or n.attr("mode", "nearest") == "nearest":
        return None
    rank = n.x.rank
    if rank is None or n.attr("mode") != "linear":
        raise NotDifferentiable("the region of a cubic crop", where=n.where(), expected="mode linear")
    axes = [a % rank for a in n.attr("axes", range(rank))]
    matrices = [None if _unchanged(n, k, a) else _matrix(n, k, a, len(axes)) for k, a in enumerate(axes)]
    ends = [_moved(n, g, matrices, axes, k) for k in range(len(axes))]
    return n.emit.op("Concat", *(e[0] for e in ends), *(e[1] for e in ends), axis=0).like(n.input(1))


def _moved(n: NodeView, g: Term, matrices: list[Term | None], axes: list[int], k: int) -> tuple[Term, Term]:
    """The derivative in start and end of the ``k``-th axis, each a vector of one element."""
    emit, axis, rank, own = n.emit, axes[k], n.x.rank or 0, matrices[k]
    if own is None:
        nothing = emit.constant([0], (g.dtype or emit.float_type).numpy())
        return nothing, nothing
    for other, matrix in zip(axes, matrices, strict=True):
        g = g if matrix is None or other == axis else along(g, other, matrix, rank)
    before, after = (emit.cast(dims(t, [axis]), g.dtype or emit.float_type) for t in (n.x, n.y))
    slopes = emit.op("Transpose", _slopes(own, before), perm=[1, 0])
    per_place = emit.sum(g * along(n.x, axis, slopes, rank), [a for a in range(rank) if a != axis], keepdims=False)
    steps = emit.cast(upto(dims(n.y, [axis])), g.dtype or emit.float_type)
    share = emit.where(after > 1.0, steps / emit.op("Max", after - 1, 1.0), 0.5)
    low, high = per_place * (1 - share) * (before - 1), per_place * share * (before - 1)
    return emit.sum(low, [0]), emit.sum(high, [0])


def _slopes(weights: Term, before: Term) -> Term:
    """−1 at the lower neighbour of every place and +1 at the upper one, 0 for places outside of the image."""
    emit = weights.emit
    index = emit.op("Unsqueeze", emit.cast(upto(emit.cast(before, INT64)), weights.dtype or emit.float_type), emit.ints([1]))
    place = emit.op("Floor", emit.sum(index * weights, [0]))
    here = emit.mask(index.equals(place + 1), weights) - emit.mask(index.equals(place), weights)
    return here * emit.mask(emit.sum(weights, [0]) > 0.5, weights)
