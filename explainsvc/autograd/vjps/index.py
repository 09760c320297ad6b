"""Operators that pick or place elements by index: what was copied from a place flows back to that place, summed.

Sums go through ScatterElements: onnxruntime's ScatterND loses repeated indices when it adds on several threads
(measured with 1.32: 791,112 of 1,000,000 ones arrived).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.pullback import pullback
from explainsvc.autograd.registry import define, vjp
from explainsvc.autograd.shapes import Dim
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import (
    INT64,
    dims,
    flat,
    from_start,
    int64,
    positive_axis,
    reshape_to,
    size,
    upto,
    vector,
)

# Any operator that only copies elements ---------------------------------------------------------------------------


def through_positions(n: NodeView, g: Term) -> Term:
    """The vjp of any operator that copies elements of operand 0: run on 0, 1, 2, … it says where each one came from."""
    source = n.replace({0: _numbered(n.x)}).y
    source.value.type = ir.TensorType(INT64)  # a new type: the view shares the forward node's
    return _added_at(n.x, source, g)


def _added_at(x: Term, places: Term, values: Term) -> Term:
    """Zeros in the shape of ``x`` to which ``values`` are added at flat ``places``, one for each value."""
    emit = x.emit
    zeros = flat(emit.zeros_like(x))
    summed = emit.op("ScatterElements", zeros, flat(places), flat(values), axis=0, reduction="add")
    return emit.reshape_like(summed, x)


def _numbered(x: Term) -> Term:
    """0, 1, 2, … in the shape of ``x``."""
    emit = x.emit
    count = emit.op("Size", x, dtype=INT64, shape=())
    numbers = emit.op("Range", emit.constant(0, np.int64), count, emit.constant(1, np.int64), dtype=INT64)
    return emit.reshape_like(numbers, x)


define("GatherND", through_positions)
define("Compress", through_positions)
define("UnfoldTensor", through_positions, domain="com.microsoft")


# Slice ------------------------------------------------------------------------------------------------------------


@vjp("Slice")
def _slice(n: NodeView, g: Term) -> Term:
    """Zeros between the elements where it stepped over some, and around them where it cut."""
    axes, steps = _axes_of_slice(n), _steps_of_slice(n)
    if axes is None or steps is None:
        return through_positions(n, g)
    count = dims(n.y, axes)
    begin = _first_of_slice(n, axes, steps, count)
    for axis, step in zip(axes, steps, strict=True):
        g = _spread(_reversed(g, axis) if step < 0 else g, axis, abs(step))
    covered = size("Mul", count, n.emit.ints(abs(s) for s in steps))
    return n.emit.pad(g, begin, size("Sub", size("Sub", dims(n.x, axes), begin), covered), axes, shape=n.x.shape)


def _axes_of_slice(n: NodeView) -> list[int] | None:
    """The sliced axes, counted from the start; None where only run time knows them."""
    if n.has(3):
        given = n.const(3)
        axes = None if given is None else [positive_axis(int(a), n.x.rank) for a in given]
    else:
        starts = n.input(1).shape
        axes = list(range(starts[0])) if starts is not None and isinstance(starts[0], int) else None
    return None if axes is None or None in axes else [a for a in axes if a is not None]


def _steps_of_slice(n: NodeView) -> list[int] | None:
    """One step an axis; None where only run time knows them."""
    if n.has(4):
        given = n.const(4)
        return None if given is None else [int(s) for s in given]
    axes = _axes_of_slice(n)
    return None if axes is None else [1] * len(axes)


def _first_of_slice(n: NodeView, axes: list[int], steps: list[int], count: Term) -> Term:
    """Position of the lowest element taken along each axis."""
    emit, dim = n.emit, dims(n.x, axes)
    last = size("Sub", dim, emit.ints(int(s < 0) for s in steps))
    start = size("Max", emit.ints([0]), size("Min", from_start(int64(n.input(1)), dim), last))
    back = size("Sub", count, emit.ints([1]))
    return size("Add", start, size("Mul", back, emit.ints(min(s, 0) for s in steps)))


def _reversed(g: Term, axis: int) -> Term:
    one, lowest = g.emit.ints([-1]), g.emit.ints([np.iinfo(np.int64).min])
    return g.emit.op("Slice", g, one, lowest, g.emit.ints([axis]), one, shape=g.shape)


def _spread(g: Term, axis: int, step: int) -> Term:
    """``step`` − 1 zeros after every element along ``axis``."""
    if step == 1:
        return g
    emit = g.emit
    apart = emit.op("Unsqueeze", g, emit.ints([axis + 1]))
    shape = None if g.shape is None else (*g.shape[: axis + 1], step, *g.shape[axis + 1 :])
    filled = emit.pad(apart, emit.ints([0]), emit.ints([step - 1]), [axis + 1], shape=shape)
    after = emit.op("Shape", g, dtype=INT64, start=axis + 1) if g.rank is None else dims(g, range(axis + 1, g.rank))
    stretched = None if g.shape is None else tuple(_times(d, step, i == axis) for i, d in enumerate(g.shape))
    return reshape_to(filled, emit.ints([0] * axis), emit.ints([-1]), after, shape=stretched)


def _times(dim: Dim, step: int, stretched: bool) -> Dim:
    if not stretched:
        return dim
    return dim * step if isinstance(dim, int) else None


# Gather -----------------------------------------------------------------------------------------------------------


@vjp("Gather")
def _gather(n: NodeView, g: Term) -> Term:
    """Repeated indices add up. One index: zeros around it; a permutation: the inverse permutation."""
    emit, index = n.emit, n.input(1)
    axis = positive_axis(n.attr("axis", 0), n.x.rank)
    if axis is None or n.x.rank is None or index.rank is None:
        return through_positions(n, g)
    if index.rank == 0:
        return _gathered_one(n, g, axis)
    constant, dim = n.const(1), n.x.shape[axis] if n.x.shape is not None else None
    if constant is not None and isinstance(dim, int) and sorted(constant.reshape(-1) % dim) == list(range(dim)):
        inverse = emit.ints(np.argsort(constant.reshape(-1) % dim))
        return emit.op("Gather", _one_axis(n, g, axis), inverse, axis=axis).like(n.x)
    rows = _one_axis(n, g, axis)
    column = emit.op("Reshape", index, emit.ints([-1] + [1] * (n.x.rank - 1 - axis)), dtype=index.dtype)
    places = emit.op("Expand", column, emit.op("Shape", rows, dtype=INT64), dtype=index.dtype)
    return emit.op("ScatterElements", emit.zeros_like(n.x), places, rows, shape=n.x.shape, axis=axis, reduction="add")


def _one_axis(n: NodeView, g: Term, axis: int) -> Term:
    """``g`` with the axes of the index merged into one."""
    if n.input(1).rank == 1:
        return g
    rank = n.x.rank or 0
    return reshape_to(g, n.emit.ints([0] * axis), n.emit.ints([-1]), dims(n.x, range(axis + 1, rank)))


def _gathered_one(n: NodeView, g: Term, axis: int) -> Term:
    emit, dim = n.emit, dims(n.x, [axis])
    place = from_start(vector(int64(n.input(1))), dim)
    after = size("Sub", size("Sub", dim, emit.ints([1])), place)
    return emit.pad(emit.op("Unsqueeze", g, emit.ints([axis])), place, after, [axis], shape=n.x.shape)


@vjp("GatherElements")
def _gather_elements(n: NodeView, g: Term) -> Term:
    axis = n.attr("axis", 0)
    zeros = n.emit.zeros_like(n.x)
    return n.emit.op("ScatterElements", zeros, n.input(1), g, shape=n.x.shape, axis=axis, reduction="add")


@vjp("TopK")
def _top_k(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    """The values go back to where they stood; the indices carry no gradient."""
    if g is None:
        return None
    places = n.emit.term(n.node.outputs[1])
    return n.emit.op(
        "ScatterElements", n.emit.zeros_like(n.x), places, g, shape=n.x.shape, axis=n.attr("axis", -1), reduction="add"
    )


@vjp("Unique")
def _unique(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    """The values go back to where they first stood."""
    return None if g is None else pullback(n, _first_ones, g)[0]


def _first_ones(n: NodeView, x: Term) -> Term:
    emit, axis = n.emit, n.attr("axis")
    _, places = emit.ops("Unique", x, count=2, axis=axis, sorted=n.attr("sorted", 1))
    places.value.type = ir.TensorType(INT64)
    return emit.op("Gather", flat(x) if axis is None else x, places, axis=axis or 0)


# Scatter ----------------------------------------------------------------------------------------------------------


def _picked(n: NodeView, from_: Term) -> Term:
    """The elements of ``from_`` at the scattered places, in the shape of the updates."""
    shape = n.input(2).shape
    if n.op_type == "ScatterND":
        return n.emit.op("GatherND", from_, n.input(1), shape=shape)
    return n.emit.op("GatherElements", from_, n.input(1), shape=shape, axis=n.attr("axis", 0))


def _summed(n: NodeView, term: Term) -> Term:
    """The elements of ``term``, shaped as the updates, added up at the scattered places, zeros elsewhere."""
    return _added_at(n.x, _picked(n, _numbered(n.x)), term)


def _winners(n: NodeView) -> tuple[Term, Term]:
    """Of a maximum or minimum: which elements of the data and which updates are the result, all sharing evenly."""
    data, updates = n.emit.mask(n.x.equals(n.y), n.x), n.emit.mask(n.input(2).equals(_picked(n, n.y)), n.x)
    count = data + _summed(n, updates)
    return data / count, updates / _picked(n, count)


@vjp("ScatterElements")
@vjp("ScatterND")
def _scatter_data(n: NodeView, g: Term) -> Term:
    """Reduction none: what was not overwritten. add: all. mul: times the updates. max, min: where it won."""
    reduction = n.attr("reduction", "none")
    if reduction == "add":
        return g
    if reduction == "none":
        return n.replace({0: g, 2: n.emit.zeros_like(n.input(2))}).y
    if reduction == "mul":
        return g * n.replace({0: n.emit.zeros_like(n.x) + 1}).y
    return g * _winners(n)[0]


@vjp("ScatterElements", 2)
@vjp("ScatterND", 2)
def _scatter_updates(n: NodeView, g: Term) -> Term:
    """What arrives where they were written; mul: times the other factors; max, min: if it won."""
    reduction = n.attr("reduction", "none")
    if reduction in ("none", "add"):
        return _picked(n, g)
    if reduction == "mul":
        return _picked(n, g) * _other_factors(n)
    return _picked(n, g) * _winners(n)[1]


def _other_factors(n: NodeView) -> Term:
    """The product at an update's place without it: 0 where another update is, without dividing by zero."""
    is_zero = n.input(2).equals(0.0)
    zeros, safe = n.emit.mask(is_zero, n.x), n.emit.where(is_zero, 1.0, n.input(2))
    only = n.emit.mask(zeros.equals(_picked(n, _summed(n, zeros))), n.x)
    return _picked(n, n.replace({2: safe}).y) / safe * only


# Indices that make numbers ----------------------------------------------------------------------------------------


@vjp("OneHot", 2)
def _one_hot(n: NodeView, g: Term) -> Term:
    """For (off, on): the sums of ``g`` where it is cold and where it is hot."""
    emit = n.emit
    hot = n.replace({2: emit.constant([0, 1], g.dtype.numpy() if g.dtype is not None else np.float32)}).y
    sums = [emit.op("ReduceSum", part, keepdims=0, shape=()) for part in (g * (1 - hot), g * hot)]
    return emit.op("Concat", *(emit.op("Unsqueeze", s, emit.ints([0]), shape=(1,)) for s in sums), axis=0, shape=(2,))


@vjp("Range")
def _range_start(n: NodeView, g: Term) -> Term:
    return n.emit.reshape_like(n.emit.op("ReduceSum", g, keepdims=0, shape=()), n.x)


@vjp("Range", 1)
def _range_limit(n: NodeView, g: Term) -> None:
    """The limit decides only how many numbers there are."""


@vjp("Range", 2)
def _range_delta(n: NodeView, g: Term) -> Term:
    steps = n.emit.cast(upto(n.emit.op("Shape", g, dtype=INT64, shape=(1,))), g.dtype or n.emit.float_type)
    return n.emit.reshape_like(n.emit.op("ReduceSum", g * steps, keepdims=0, shape=()), n.input(2))
