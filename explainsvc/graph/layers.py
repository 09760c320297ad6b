"""Parameter units: the learned tensors of a graph, grouped by the layer that they feed, output side first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS
from explainsvc.graph.scopes import recorded_scope

Role = Literal["weight", "bias", "scale", "shift", "mean", "var", "slope"]
"""``scale`` and ``shift`` are those of a normalisation or a learned Mul; ``slope`` is that of a PRelu."""
Fans = tuple[int, int]
Shape = tuple[int, ...]

LARGEST_LEARNED = 1e4
"""A constant of Add or Mul beyond it is an attention mask (-1e9, -inf), not something learned."""


@dataclass(frozen=True)
class Parameter:
    """One initializer of a unit: how many inputs one output sums over (``fan_in``), and the converse (``fan_out``)."""

    name: str
    role: Role
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Unit:
    """The learned tensors of one layer; ``name`` is its module where the exporter recorded it, else its node's in the source."""

    name: str
    op_type: str
    tensors: tuple[Parameter, ...]

    @property
    def fan_in(self) -> int:
        """That of its first tensor."""
        return self.tensors[0].fan_in

    @property
    def fan_out(self) -> int:
        """That of its first tensor."""
        return self.tensors[0].fan_out


def _conv(node: ir.Node, shape: Shape, _operand: int) -> Fans:
    """W is [out, in/group, kernel…]."""
    kernel = prod(shape[2:])
    return shape[1] * kernel, shape[0] // node.attributes.get_int("group", 1) * kernel


def _conv_transpose(node: ir.Node, shape: Shape, _operand: int) -> Fans:
    """W is [in, out/group, kernel…]."""
    kernel = prod(shape[2:])
    return shape[0] // node.attributes.get_int("group", 1) * kernel, shape[1] * kernel


def _gemm(node: ir.Node, shape: Shape, operand: int) -> Fans:
    """B is [in, out], A is [out, in]; transposed when the attribute says so."""
    transposed = node.attributes.get_int("transB" if operand == 1 else "transA", 0)
    rows, columns = shape
    return (rows, columns) if (operand == 1) != bool(transposed) else (columns, rows)


def _matmul(_node: ir.Node, shape: Shape, operand: int) -> Fans:
    """B is […, in, out], A is […, out, in]; a vector is summed over."""
    if len(shape) == 1:
        return shape[0], 1
    return (shape[-2], shape[-1]) if operand == 1 else (shape[-1], shape[-2])


def _gather(_node: ir.Node, shape: Shape, _operand: int) -> Fans:
    """A lookup: every output is one weight."""
    return 1, prod(shape[1:])


def _recurrent(_node: ir.Node, shape: Shape, _operand: int) -> Fans:
    """W and R are [directions, gates · hidden, in]: fans of one gate cannot be told from the shape, in is exact."""
    return shape[-1], shape[-2]


def _einsum(node: ir.Node, shape: Shape, operand: int) -> Fans:
    """Letters of the weight that the result lacks are summed over; those no other operand has are new."""
    left, _, result = node.attributes.get_string("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    others = "".join(t for i, t in enumerate(terms) if i != operand)
    sizes = list(zip(terms[operand], shape, strict=False))
    return prod(n for c, n in sizes if c not in result), prod(n for c, n in sizes if c in result and c not in others)


def _element(_node: ir.Node, _shape: Shape, _operand: int) -> Fans:
    """One element for one output, as in a bias."""
    return 1, 1


Roles = dict[int, Role]
_NORM: Roles = {1: "scale", 2: "shift"}
_RNN: Roles = {1: "weight", 2: "weight", 3: "bias"}

LAYERS: dict[str, tuple[Roles, Callable[[ir.Node, Shape, int], Fans]]] = {
    "Conv": ({1: "weight", 2: "bias"}, _conv),
    "ConvTranspose": ({1: "weight", 2: "bias"}, _conv_transpose),
    "Gemm": ({1: "weight", 0: "weight", 2: "bias"}, _gemm),
    "MatMul": ({1: "weight", 0: "weight"}, _matmul),
    "Einsum": ({1: "weight", 0: "weight", 2: "weight"}, _einsum),
    "Gather": ({0: "weight"}, _gather),
    "LSTM": (_RNN | {7: "weight"}, _recurrent),
    "GRU": (_RNN, _recurrent),
    "RNN": (_RNN, _recurrent),
    "PRelu": ({1: "slope"}, _element),
    "BatchNormalization": (_NORM | {3: "mean", 4: "var"}, _element),
    "InstanceNormalization": (_NORM, _element),
    "GroupNormalization": (_NORM, _element),
    "LayerNormalization": (_NORM, _element),
    "RMSNormalization": (_NORM, _element),
    "Add": ({0: "shift", 1: "shift"}, _element),
    "Mul": ({0: "scale", 1: "scale"}, _element),
}
"""Operator → operands that may be learned, and the fans of a weight among them."""
_SINGLE_VALUES = frozenset({"Add", "Mul"})
"""Their constants are learned only when they have several elements: 0.5 in GELU or ε is part of the formula."""
_JOINS = {"Add": frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Mul"})}
"""An Add of a constant to the result of such a layer is that layer's bias."""
_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Flatten"})
"""A weight may pass through these on its way to the layer."""


def parameter_units(graph: ir.Graph, source: onnx.ModelProto | None = None) -> tuple[Unit, ...]:
    """The units of a graph and its subgraphs in topological order, output side first.

    Args:
        graph: The prepared graph.
        source: The model as loaded; units bear the names of its modules or nodes, also where a pass fused them.

    Returns:
        Every learned initializer belongs to exactly one unit: a shared one to the unit nearest to the output.
    """
    groups = _grouped(list(graph.all_nodes()))
    names = _unique_names([group[0] for group in groups], source)
    taken: set[str] = set()
    units = []
    for group, name in zip(reversed(groups), reversed(names), strict=True):
        found = {p.name: p for node in group for p in _parameters(node) if p.name not in taken}
        taken |= found.keys()
        units += [Unit(name, group[0].op_type, tuple(found.values()))] if found else []
    return tuple(units)


def _grouped(nodes: list[ir.Node]) -> list[list[ir.Node]]:
    """Layers with learned tensors, in the order of the nodes; a bias that is added to a layer's result joins it."""
    groups: dict[ir.Node, list[ir.Node]] = {}
    for node in nodes:
        found = list(_parameters(node))
        if not found:
            continue
        makers = [v.producer() for v in node.inputs if v is not None]
        heads = [maker for maker in makers if maker is not None and _lacks_bias(maker, node, groups)]
        groups.setdefault(heads[0] if heads else node, []).append(node)
    return list(groups.values())


def _lacks_bias(head: ir.Node, node: ir.Node, groups: dict[ir.Node, list[ir.Node]]) -> bool:
    """Whether ``node`` adds the first constant to the result of the layer ``head``."""
    if head not in groups or len(groups[head]) > 1 or head.op_type not in _JOINS.get(node.op_type, ()):
        return False
    return all(p.role not in ("bias", "shift") for p in _parameters(head))


def _parameters(node: ir.Node) -> Iterator[Parameter]:
    roles, fans = LAYERS.get(node.op_type, ({}, _element)) if node.domain in ("", "ai.onnx") else ({}, _element)
    for operand, role in roles.items():
        value = node.inputs[operand] if operand < len(node.inputs) else None
        initializer = None if value is None else initializer_of(value)
        if value is None or initializer is None or not _is_learned(node, initializer):
            continue
        shape = _shape(value, initializer)
        yield Parameter(initializer.name or "", role, *(fans(node, shape, operand) if role == "weight" else (1, 1)))


def initializer_of(value: ir.Value) -> ir.Value | None:
    """The float initializer that a value is, or is only a rearrangement of."""
    while (node := value.producer()) is not None and node.op_type in _MOVES and node.inputs[0] is not None:
        value = node.inputs[0]
    tensor = value.const_value if value.is_initializer() else None
    return value if tensor is not None and tensor.dtype in FLOATS else None


def _shape(value: ir.Value, initializer: ir.Value) -> Shape:
    """The shape in which the layer sees the weight, where it is known."""
    known = None if value.shape is None else [d for d in value.shape if isinstance(d, int)]
    assert initializer.const_value is not None
    if value.shape is None or known is None or len(known) != len(value.shape):
        return tuple(initializer.const_value.shape.numpy())
    return tuple(known)


def _is_learned(node: ir.Node, initializer: ir.Value) -> bool:
    if node.op_type not in _SINGLE_VALUES:
        return True
    assert initializer.const_value is not None
    values = initializer.const_value.numpy()
    return values.size > 1 and bool(np.abs(values).max() <= LARGEST_LEARNED)


def _unique_names(nodes: list[ir.Node], source: onnx.ModelProto | None) -> list[str]:
    makers = {} if source is None else {name: n for n in source.graph.node for name in n.output}
    known = {n.name for n in makers.values()}
    counts: dict[str, int] = {}
    names = []
    for node in nodes:
        name = _name(node, makers, known)
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def _name(node: ir.Node, makers: dict[str, onnx.NodeProto], known: set[str]) -> str:
    """The recorded module; else the node's own name where the source has it; else its layer's upstream of the same result."""
    result = node.outputs[0].name or ""
    if recorded := recorded_scope(node.metadata_props):
        return recorded
    if node.name and (node.name in known or not makers):
        return node.name
    maker = makers.get(result)
    while maker is not None and maker.op_type not in (node.op_type, "MatMul") and maker.input:
        maker = makers.get(maker.input[0])
    return (maker.name or maker.output[0]) if maker is not None else (node.name or result)
