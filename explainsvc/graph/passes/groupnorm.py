"""GroupNorm as torch exports it, through InstanceNormalization of one row a group → GroupNormalization.

Reshape [N, G, −1], InstanceNormalization by ones and zeros, Reshape back, Mul and Add per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array, Shape, shape_of
from explainsvc.graph.passes.rewrite import Rewriter, constant_of

EPSILON = 1e-5
"""ONNX' default."""


@dataclass(frozen=True)
class GroupNorm:
    """``x`` standardised in ``groups`` at ``back``, then scaled and shifted as far as there are such nodes."""

    x: ir.Value
    groups: int
    channels: int
    epsilon: float
    nodes: tuple[ir.Node, ...]
    scale: ir.Value | None = None
    shift: ir.Value | None = None


def fuse_groupnorm(model: ir.Model) -> bool:
    """Replaces GroupNorm through InstanceNormalization, in place; True when there was one."""
    write = Rewriter(model.graph)
    found = [norm for node in list(model.graph.all_nodes()) if (norm := groupnorm(node)) is not None]
    for norm in found:
        _fuse(norm, write)
    if found:
        common.RemoveUnusedNodesPass()(model)
    return bool(found)


def groupnorm(node: ir.Node) -> GroupNorm | None:
    """The GroupNorm whose core is this InstanceNormalization, if it is one."""
    if node.op_type != "InstanceNormalization" or node.domain != "":
        return None
    split = None if node.inputs[0] is None else node.inputs[0].producer()
    back = _only_user(node.outputs[0])
    if split is None or split.op_type != "Reshape" or back is None or back.op_type != "Reshape":
        return None
    x, rows, groups = split.inputs[0], constant_of(split.inputs[1]), _neutral(node)
    if x is None or rows is None or len(rows) != 3 or rows[1] != groups or not _restores(back, x):
        return None
    shape = shape_of(x)
    parameters = _parameters(back, shape)
    channels = shape[1] if shape is not None and len(shape) > 1 else next((len(p) for _, p in parameters.values()), None)
    if not isinstance(channels, int) or rows[0] not in (0, None if shape is None else shape[0]):
        return None
    nodes = (node, back, *(user for user, _ in parameters.values()))
    scale, shift = (parameters[op][0].inputs if op in parameters else () for op in ("Mul", "Add"))
    return GroupNorm(
        x, groups, channels, node.attributes.get_float("epsilon", EPSILON), nodes, _constant(scale), _constant(shift)
    )


def _neutral(node: ir.Node) -> int:
    """Number of rows of an InstanceNormalization that neither scales nor shifts, 0 of another."""
    scale, shift = constant_of(node.inputs[1]), constant_of(node.inputs[2])
    return 0 if scale is None or shift is None or np.any(scale != 1) or np.any(shift != 0) else scale.size


def _parameters(back: ir.Node, shape: Shape | None) -> dict[str, tuple[ir.Node, Array]]:
    """The Mul and the Add of one constant element a channel that follow, and these numbers as a vector."""
    found: dict[str, tuple[ir.Node, Array]] = {}
    node = back
    for op_type in ("Mul", "Add"):
        user = _only_user(node.outputs[0])
        array = None if user is None or user.op_type != op_type else constant_of(_constant(user.inputs))
        if user is not None and array is not None and _per_channel(array, shape):
            found[op_type] = (user, array.reshape(-1))
            node = user
    return found


def _constant(values: Sequence[ir.Value | None]) -> ir.Value | None:
    return next((v for v in values if constant_of(v) is not None), None)


def _per_channel(array: Array, shape: Shape | None) -> bool:
    """[C, 1, …] of one axis less than the result, so that C is axis 1; or [1, C, 1, …]."""
    if shape is None:
        return array.ndim > 1 and array.shape[0] == array.size > 1
    rank = len(shape)
    return rank > 1 and array.size == shape[1] and array.ndim in (rank - 1, rank) and array.shape[1 - rank] == array.size


def _restores(back: ir.Node, x: ir.Value) -> bool:
    """Whether a Reshape gives back the shape of ``x``: by its Shape, or by numbers that do not contradict it."""
    target = back.inputs[1]
    maker = None if target is None else target.producer()
    if maker is not None:
        whole = maker.attributes.get_int("start", 0) == 0 and "end" not in maker.attributes
        return maker.op_type == "Shape" and maker.inputs[0] is x and whole
    dims, shape = constant_of(target), shape_of(x)
    if dims is None or shape is None or len(dims) != len(shape) or len(shape) < 2 or dims[1] not in (-1, shape[1]):
        return False
    return all(d in (0, -1) or d == s or not isinstance(s, int) for d, s in zip(dims.tolist(), shape, strict=True))


def _only_user(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None


def _fuse(norm: GroupNorm, write: Rewriter) -> None:
    dtype = (norm.x.dtype or ir.DataType.FLOAT).numpy()
    last = norm.nodes[-1]
    y, inside = last.outputs[0], set(norm.nodes)
    operands = [norm.x]
    for value, neutral, stem in ((norm.scale, 1.0, "scale"), (norm.shift, 0.0, "shift")):
        whole = write.constant(np.full(norm.channels, neutral, dtype), f"{y.name}_{stem}") if value is None else value
        operands.append(write.reshaped(whole, [norm.channels], inside))
    attributes = {"num_groups": norm.groups, "epsilon": norm.epsilon}
    name = last.name or f"{y.name}_GroupNormalization"
    result = write.before(last, "GroupNormalization", operands, attributes, y.dtype, name=name)
    result.shape = norm.x.shape
    write.replace(last, result)
