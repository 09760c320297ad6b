"""Resize is linear and separable: one interpolation matrix an axis, the same that onnxruntime uses.

The matrix comes from the operator itself, run on the identity: its modes, rounding and coordinate transformations
are thereby those of the forward pass, whatever the sizes are. Where shapes are static, onnxruntime folds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import NodeView, Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.vjps.sizes import dims, element, joined, known, reshape_to
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
        raise NotDifferentiable(
            "the rank of the input is unknown", where=n.where(), expected="a model with known ranks"
        )
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
    if n.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    if not n.has(3):
        scales = n.const(2)
        return scales is not None and float(scales[k]) == 1.0
    before, after = (None if t.shape is None else t.shape[axis] for t in (n.x, n.y))
    return before is not None and before == after and not _keeps_aspect(n)


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
    shape = (
        None if g.shape is None or matrix.shape is None else (*g.shape[:axis], matrix.shape[0], *g.shape[axis + 1 :])
    )
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
    identity = emit.op("Unsqueeze", _identity(size), emit.ints([0, 1]))
    resized = emit.op("Resize", identity, roi, scales, sizes, **_modes(n, policy=False))
    return emit.op("Squeeze", resized, emit.ints([0, 1]))


def _of_block(n: NodeView, k: int, count: int) -> Term:
    """The operator on the identity along one axis, repeated along the others, which decide the scale with it."""
    emit, axes = n.emit, [a % (n.x.rank or 1) for a in n.attr("axes", range(n.x.rank or 0))]
    size = dims(n.x, [axes[k]])
    column = reshape_to(_identity(size), size, *(size if j == k else emit.ints([1]) for j in range(-1, count)))
    block = emit.op("Expand", column, joined(size, emit.ints([1]), dims(n.x, axes)))
    roi = _floats(n.input(1)) if n.has(1) else None
    resized = emit.op(
        "Resize", block, roi, None, n.input(3), axes=[2 + j for j in range(count)], **_modes(n, policy=True)
    )
    others = [2 + j for j in range(count) if j != k]
    first = emit.op("Slice", resized, emit.ints([0] * len(others)), emit.ints([1] * len(others)), emit.ints(others))
    return emit.op("Squeeze", first, emit.ints([1, *others]))


def _modes(n: NodeView, policy: bool) -> dict[str, Any]:
    """The node's own modes; beyond a crop it gives zero, because a constant there has no derivative."""
    return {k: n.attr(k) for k in _MODES if policy or k != "keep_aspect_ratio_policy"}


def _identity(size: Term) -> Term:
    emit = size.emit
    square = emit.op(
        "ConstantOfShape", joined(size, size), dtype=ir.DataType.FLOAT, value=ir.tensor(np.zeros(1, np.float32))
    )
    return emit.op("EyeLike", square)


def _floating(n: NodeView, *values: float) -> Term:
    return n.emit.constant(values, np.float32)


def _floats(term: Term) -> Term:
    """The region of interest as float32, whatever float type it came in."""
    array = known(term)
    if array is not None:
        return term.emit.constant(array, np.float32)
    return term if term.dtype == ir.DataType.FLOAT else term.emit.cast(term, ir.DataType.FLOAT)
