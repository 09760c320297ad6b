"""Operators that lay the same numbers out differently: their vjp lays them back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS
from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, stops, vjp, vjp_all
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import dims, element, reshape_to, size
from explainsvc.errors import NotDifferentiable

stops(["Shape", "Size", "Constant", "ConstantOfShape", "EyeLike", "NonZero", "NonMaxSuppression", "ArgMax", "ArgMin"])
stops(["RandomNormalLike", "RandomUniformLike", "Multinomial"])  # the first two read only the shape


def _as_x(n: NodeView, g: Term) -> Term:
    """``g`` in the shape of operand 0."""
    return n.emit.reshape_like(g, n.x)


define("Identity", lambda _, g: g)
for _op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
    define(_op_type, _as_x)


@vjp("Transpose")
def _transpose(n: NodeView, g: Term) -> Term:
    perm = n.attr("perm")
    if perm is None:
        return n.emit.op("Transpose", g, shape=n.x.shape)
    return n.emit.op("Transpose", g, shape=n.x.shape, perm=np.argsort(perm).tolist())


@vjp_all("Concat")
def _concat(n: NodeView, g: Term) -> dict[int, Term]:
    """Every operand gets its part of ``g``; the walk along them is one, for DenseNets join dozens."""
    axis, end, parts = n.attr("axis"), n.emit.ints([0]), {}
    for i in range(max(n.asked) + 1):
        start, end = end, size("Add", end, dims(n.input(i), [axis]))
        if i in n.asked:
            parts[i] = n.emit.op("Slice", g, start, end, n.emit.ints([axis]), shape=n.input(i).shape)
    return parts


@vjp("Split")
def _split(n: NodeView, *g: Term | None) -> Term:
    parts = [n.emit.zeros_like(n.emit.term(v)) if r is None else r for v, r in zip(n.node.outputs, g, strict=True)]
    return n.emit.op("Concat", *parts, shape=n.x.shape, axis=n.attr("axis", 0))


@vjp("Expand")
def _expand(n: NodeView, g: Term) -> Term:
    return n.emit.sum_to(g, n.x)


@vjp("Tile")
def _tile(n: NodeView, g: Term) -> Term:
    """Every axis as (repeat, size), summed over the repeats."""
    repeats, rank = n.input(1), n.x.rank
    if rank is None:
        return _tile_of_unknown_rank(n, g)
    if rank == 0:
        return g
    pairs = [part for a in range(rank) for part in (element(repeats, a), dims(n.x, [a]))]
    return n.emit.op("ReduceSum", reshape_to(g, *pairs), n.emit.ints(range(0, 2 * rank, 2)), shape=n.x.shape, keepdims=0)


def _tile_of_unknown_rank(n: NodeView, g: Term) -> Term:
    emit, int64 = n.emit, ir.DataType.INT64
    columns = [emit.op("Unsqueeze", v, emit.ints([1]), dtype=int64) for v in (n.input(1), emit.shape(n.x))]
    pairs = emit.op("Reshape", emit.op("Concat", *columns, dtype=int64, axis=1), emit.ints([-1]), dtype=int64)
    last = emit.op("Size", pairs, dtype=int64, shape=())
    axes = emit.op("Range", emit.constant(0, np.int64), last, emit.constant(2, np.int64), dtype=int64)
    return emit.op("ReduceSum", emit.op("Reshape", g, pairs), axes, shape=n.x.shape, keepdims=0)


@vjp("Cast")
@vjp("CastLike")
def _cast(n: NodeView, g: Term) -> Term | None:
    """Between float types the gradient is cast back; a cast to or from integers is a step function."""
    into, back = n.y.dtype, n.x.dtype or n.emit.float_type
    if into is not None and into not in FLOATS:
        return None
    return g if into == back else n.emit.cast(g, back)


@vjp("CastLike", 1)
@vjp("Dropout", 1)
def _zero(n: NodeView, *g: Term | None) -> None:
    """This operand has no influence: the type of CastLike, the ratio of a Dropout at inference."""


@vjp("Dropout")
def _dropout(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    training = n.const(2)
    if n.has(2) and (training is None or bool(training)):
        raise NotDifferentiable(
            "a Dropout in training mode is random",
            where=n.where(),
            expected="training_mode absent or constantly false",
            to_do="Export the model for inference (model.eval() in torch)",
        )
    return g


@vjp("SpaceToDepth")
def _space_to_depth(n: NodeView, g: Term) -> Term:
    block, mode = n.attr("blocksize"), n.attr("mode", "DCR")
    return n.emit.op("DepthToSpace", g, shape=n.x.shape, blocksize=block, mode=mode)


@vjp("DepthToSpace")
def _depth_to_space(n: NodeView, g: Term) -> Term:
    """In CRD order the blocks of each channel stay together: SpaceToDepth of every channel by itself."""
    block = n.attr("blocksize")
    if n.attr("mode", "DCR") == "DCR":
        return n.emit.op("SpaceToDepth", g, shape=n.x.shape, blocksize=block)
    alone = n.emit.reshape(g, [-1, 1, 0, 0])
    return _as_x(n, n.emit.op("SpaceToDepth", alone, blocksize=block))


@vjp("Trilu")
def _trilu(n: NodeView, g: Term) -> Term:
    return n.replace({0: g}).y


@vjp("ReverseSequence")
def _reverse_sequence(n: NodeView, g: Term) -> Term:
    return n.replace({0: g}).y
