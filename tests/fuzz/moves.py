"""Rows: operators that move, copy, pick or place elements."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from tests.fuzz.pointwise import Row, needs
from tests.fuzz.sketch import Sketch


def _axis(s: Sketch, name: str) -> int:
    rank = len(s.shape(name))
    return s.integer(-rank, rank - 1)


def _reshape(s: Sketch) -> None:
    x = s.pick()
    shape = s.shape(x)
    left, dims = math.prod(shape), []
    for _ in range(s.integer(0, 3)):
        divisor = s.one([d for d in range(1, left + 1) if left % d == 0])
        dims.append(divisor)
        left //= divisor
    dims.append(left)
    if s.flag():
        at = s.integer(0, len(dims) - 1)
        if at < len(shape) and shape[at] == dims[at] and s.flag():
            dims[at] = 0
        else:
            dims[at] = -1
    s.node("Reshape", [x, s.ints(*dims)], allowzero=0 if s.opset >= 14 and s.flag() else None)


def _reshape_computed(s: Sketch) -> None:
    """The target shape by Shape, Gather, Concat, as exporters write x.view(x.size(0), -1)."""
    x = s.ranked(2)
    size = s.node("Gather", [s.node("Shape", [x])[0], s.constant(np.array(0, np.int64))], axis=0)[0]
    first = s.node("Unsqueeze", [size, s.ints(0)])[0]
    s.node("Reshape", [x, s.node("Concat", [first, s.ints(-1)], axis=0)[0]])


def _flatten(s: Sketch) -> None:
    x = s.pick()
    rank = len(s.shape(x))
    s.node("Flatten", [x], axis=s.one((None, s.integer(-rank, rank))) if rank else 0)


def _squeeze(s: Sketch) -> None:
    x = s.pick(lambda a: 1 in a.shape)
    ones = [a for a, d in enumerate(s.shape(x)) if d == 1]
    chosen = [a - len(s.shape(x)) * s.integer(0, 1) for a in ones if s.flag()]
    s.node("Squeeze", [x, s.ints(*chosen)] if chosen else [x])


def _unsqueeze(s: Sketch) -> None:
    x = s.pick(lambda a: a.ndim < 4)
    rank, count = len(s.shape(x)), s.integer(1, 2)
    axes = s.rng().permutation(rank + count)[:count]
    s.node("Unsqueeze", [x, s.ints(*(int(a) - (rank + count) * s.integer(0, 1) for a in axes))])


def _transpose(s: Sketch) -> None:
    x = s.pick()
    perm = [int(a) for a in s.rng().permutation(len(s.shape(x)))]
    s.node("Transpose", [x], perm=perm if s.flag() and perm else None)


def _concat(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    parts = [x]
    for _ in range(s.integer(0, 2)):
        shape = list(s.shape(x))
        shape[axis] = s.integer(1, 3)
        parts.insert(s.integer(0, len(parts)), s.one((x, s.either(*shape))))
    s.node("Concat", parts, axis=axis)


def _split(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    size = s.shape(x)[axis]
    if s.flag():
        first = s.integer(1, size)
        lengths = [first, size - first] if first < size else [size]
        parts = s.node("Split", [x, s.ints(*lengths)], len(lengths), axis=axis)
    elif s.opset >= 18:
        count = s.integer(1, min(3, size))
        parts = s.node("Split", [x], count, axis=axis, num_outputs=count)
    else:
        count = s.one([n for n in (1, 2, 3) if size % n == 0])
        parts = s.node("Split", [x], count, axis=axis)
    if len(parts) > 1 and s.flag():
        s.node("Concat", parts[::-1], axis=axis)


def _slice(s: Sketch) -> None:
    x = s.ranked(1)
    rank = len(s.shape(x))
    axes = [a for a in range(rank) if s.flag()] or [0]
    starts, ends, steps = [], [], []
    for axis in axes:
        n, step = s.shape(x)[axis], s.one((1, 1, 2, -1, -2, 3))
        low, high = s.integer(0, n - 1), s.one((n, n + 3, 2**31 - 1, 2**63 - 1))
        starts.append(low - n * s.integer(0, 1) if step > 0 else s.one((n - 1, -1, n + 2, low)))
        ends.append(high if step > 0 else s.one((-(2**31), -n - 1, -(2**63))))
        steps.append(step)
    operands = [s.ints(*starts), s.ints(*ends)]
    if axes != list(range(len(axes))) or s.flag() or any(step != 1 for step in steps):
        operands.append(s.ints(*(a - rank * s.integer(0, 1) for a in axes)))
        operands += [s.ints(*steps)] if any(step != 1 for step in steps) or s.flag() else []
    s.node("Slice", [x, *operands])


def _indices(s: Sketch, size: int, *shape: int) -> str:
    """Indices into an axis, negative ones too."""
    return s.constant(s.rng().integers(-size, size, shape).astype(s.one((np.int64, np.int32))))


def _gather(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    shape = [s.integer(1, 3) for _ in range(s.integer(0, 2))]
    s.node("Gather", [x, _indices(s, s.shape(x)[axis], *shape)], axis=axis if s.flag() or axis else None)


def _gather_elements(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    shape = [s.integer(1, d) for d in s.shape(x)]
    shape[axis] = s.integer(1, 3)
    s.node("GatherElements", [x, _indices(s, s.shape(x)[axis], *shape)], axis=axis)


def _gather_nd(s: Sketch) -> None:
    x = s.ranked(1, 4)
    shape = s.shape(x)
    batch = s.integer(0, len(shape) - 1)
    deep = s.integer(1, len(shape) - batch)
    outer = [*shape[:batch], s.integer(1, 3)]
    columns = [s.rng().integers(-d, d, outer) for d in shape[batch : batch + deep]]
    s.node("GatherND", [x, s.constant(np.stack(columns, axis=-1))], batch_dims=batch)


def _scatter_elements(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    shape = [s.integer(1, d) for d in s.shape(x)]
    reduction = _reduction(s)
    if reduction in (None, "none"):  # no index twice, where the last one wins or loses
        line = s.rng().permutation(s.shape(x)[axis])[: shape[axis]]
        at = np.broadcast_to(np.moveaxis(line.reshape(-1, *[1] * (len(shape) - 1)), 0, axis), shape)
        indices = s.constant(np.array(at - s.shape(x)[axis] * s.integer(0, 1), np.int64))
    else:
        indices = _indices(s, s.shape(x)[axis], *shape)
    s.node("ScatterElements", [x, indices, s.either(*shape)], axis=axis, reduction=reduction)


def _reduction(s: Sketch) -> str | None:
    since = {13: (None,), 16: (None, "none", "add", "mul"), 18: (None, "none", "add", "mul", "max", "min")}
    return s.one(since[max(v for v in since if v <= s.opset)])


def _scatter_nd(s: Sketch) -> None:
    x = s.ranked(1, 4)
    shape = s.shape(x)
    deep = s.integer(1, len(shape))
    places = np.array(list(itertools.product(*(range(d) for d in shape[:deep]))))
    count = s.integer(1, min(3, len(places)))
    reduction = _reduction(s)
    twice = reduction not in (None, "none")
    chosen = places[s.rng().choice(len(places), count, replace=twice)] - np.array(shape[:deep]) * s.integer(0, 1)
    s.node("ScatterND", [x, s.constant(chosen.astype(np.int64)), s.either(count, *shape[deep:])], reduction=reduction)


def _pad(s: Sketch) -> None:
    x = s.ranked(1, 4)
    shape = s.shape(x)
    mode = s.one(("constant", "constant", None, "reflect", "edge", "wrap"))
    if mode == "wrap":
        needs(s, 19)
    axes = [a for a in range(len(shape)) if s.flag()] if s.opset >= 18 and s.flag() else list(range(len(shape)))
    low = -1 if mode in ("constant", None) else 0
    most = {"reflect": lambda d: d - 1, "wrap": lambda d: d}.get(mode or "", lambda _: 2)
    pads = [s.integer(low if shape[a] > 2 else 0, min(2, most(shape[a]))) for _ in range(2) for a in axes]
    value = s.one(("", s.scalar(0.5), s.shaped())) if low < 0 else ""
    listed = [s.ints(*(a - len(shape) * s.integer(0, 1) for a in axes))] if len(axes) < len(shape) else []
    s.node("Pad", [x, s.ints(*pads), value, *listed] if value or listed else [x, s.ints(*pads)], mode=mode)


def _expand(s: Sketch) -> None:
    x = s.pick(lambda a: a.ndim < 4)
    dims = [d if d > 1 else s.integer(1, 3) for d in s.shape(x)]
    target = [1 if s.flag() else d for d in dims]
    target = [s.integer(1, 2), *target] if s.flag() else target[s.integer(0, len(target)) :]
    s.node("Expand", [x, s.ints(*target)])


def _expand_computed(s: Sketch) -> None:
    """To the shape of another value, as exporters write expand_as."""
    x = s.pick()
    other = s.pick(lambda a: _broadcasts(a.shape, s.shape(x)))
    s.node("Expand", [x, s.node("Shape", [other])[0]])


def _broadcasts(*shapes: tuple[int, ...]) -> bool:
    try:
        return bool(np.broadcast_shapes(*shapes) is not None)
    except ValueError:
        return False


def _tile(s: Sketch) -> None:
    x = s.ranked(1)
    s.node("Tile", [x, s.ints(*(s.integer(1, 3) if s.flag() else 1 for _ in s.shape(x)))])


def _depth_to_space(s: Sketch) -> None:
    b = s.integer(1, 2)
    if s.flag():
        x = s.shaped(s.integer(1, 2), b * b * s.integer(1, 2), s.integer(1, 3), s.integer(1, 3))
        s.node("DepthToSpace", [x], blocksize=b, mode=s.one((None, "DCR", "CRD")))
    else:
        s.node(
            "SpaceToDepth", [s.shaped(s.integer(1, 2), s.integer(1, 2), b * s.integer(1, 3), b * s.integer(1, 3))], blocksize=b
        )


def _resize(s: Sketch) -> None:
    x = s.shaped(s.integer(1, 2), s.integer(1, 2), s.integer(1, 4), s.integer(1, 4))
    shape, mode = s.shape(x), s.one(("nearest", "linear", "cubic"))
    where = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    given: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": s.one(where)}
    if mode == "nearest":
        given["nearest_mode"] = s.one(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
    if mode == "cubic":
        given["cubic_coeff_a"] = s.one((-0.75, -0.5))
        given["exclude_outside"] = s.integer(0, 1)
    if s.opset >= 18 and mode != "nearest" and s.integer(0, 3) == 0:
        given["antialias"] = 1
    if s.flag():
        s.node("Resize", [x, "", "", s.ints(*shape[:2], s.integer(1, 6), s.integer(1, 6))], **given)
    else:
        scales = s.constant(np.array([1, 1, *(s.one((0.5, 1, 1.5, 2, 0.6)) for _ in range(2))], np.float32), as_is=True)
        s.node("Resize", [x, "", scales], **given)


def _top_k(s: Sketch) -> None:
    x = s.ranked(1)
    axis = _axis(s, x)
    k = s.ints(s.integer(1, s.shape(x)[axis]))
    values, places = s.node("TopK", [x, k], 2, axis=axis, largest=s.integer(0, 1), sorted=1)
    if s.flag():
        s.node("GatherElements", [x, places], axis=axis)
    elif s.flag():
        s.node("Mul", [values, s.node("Cast", [places], to=1)[0]])


def _arg_max(s: Sketch) -> None:
    """The largest element along an axis, gathered."""
    x = s.ranked(1)
    axis = _axis(s, x)
    at = s.node(s.one(("ArgMax", "ArgMin")), [x], axis=axis, keepdims=1, select_last_index=s.integer(0, 1))[0]
    s.node("GatherElements", [x, at], axis=axis)


def _trilu(s: Sketch) -> None:
    needs(s, 14)
    x = s.ranked(2)
    k = [s.constant(np.array(s.integer(-2, 2), np.int64))] if s.flag() else []
    s.node("Trilu", [x, *k], upper=s.one((None, 0, 1)))


def _reverse_sequence(s: Sketch) -> None:
    x = s.ranked(2, 4)
    time = s.integer(0, 1)
    lengths = s.rng().integers(1, s.shape(x)[time] + 1, s.shape(x)[1 - time])
    s.node("ReverseSequence", [x, s.constant(lengths)], time_axis=time, batch_axis=1 - time)


def _compress(s: Sketch) -> None:
    x = s.ranked(1)
    axis = s.one((None, _axis(s, x)))
    size = math.prod(s.shape(x)) if axis is None else s.shape(x)[axis]
    condition = s.rng().integers(0, 2, s.integer(1, size)).astype(bool)
    condition[0] = True
    s.node("Compress", [x, s.constant(condition)], axis=axis)


def _center_crop_pad(s: Sketch) -> None:
    needs(s, 18)
    x = s.ranked(1, 4)
    axes = [a for a in range(len(s.shape(x))) if s.flag()] or [0]
    s.node("CenterCropPad", [x, s.ints(*(s.integer(1, 5) for _ in axes))], axes=axes)


def _one_hot(s: Sketch) -> None:
    """Live on- and off-values."""
    where = s.constant(s.rng().integers(-3, 3, [s.integer(1, 3) for _ in range(s.integer(1, 2))]))
    s.node("OneHot", [where, s.ints(3), s.shaped(2)], axis=s.one((None, 0, 1, -1)))


def _constant_of_shape(s: Sketch) -> None:
    """Zeros or a number, of the shape of a value, joined to it."""
    x = s.pick()
    filled = s.node("ConstantOfShape", [s.node("Shape", [x])[0]])[0]
    if filled in s.live:
        s.live.remove(filled)
    s.node(s.one(("Add", "Max", "Sub")), [x, filled])


MOVES: dict[str, Row] = {
    "Reshape": _reshape, "Reshape computed": _reshape_computed, "Flatten": _flatten, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Transpose": _transpose, "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather,
    "GatherElements": _gather_elements, "GatherND": _gather_nd, "ScatterElements": _scatter_elements, "ScatterND": _scatter_nd,
    "Pad": _pad, "Expand": _expand, "Expand computed": _expand_computed, "Tile": _tile, "DepthToSpace": _depth_to_space,
    "Resize": _resize, "TopK": _top_k, "ArgMax": _arg_max, "Trilu": _trilu, "ReverseSequence": _reverse_sequence,
    "Compress": _compress, "CenterCropPad": _center_crop_pad, "OneHot": _one_hot, "ConstantOfShape": _constant_of_shape,
}  # fmt: skip
