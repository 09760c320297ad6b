"""Regions: the nodes between one value and a result that depends on nothing else, as a function of numbers.

Exporters spell one formula in many ways (order of factors, Pow or Mul, Div or Reciprocal). What a region means is
therefore not told by its nodes but by its values: it is computed in float64 and compared with the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from scipy import special

from explainsvc.autograd.backward import FLOATS
from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.rewrite import constant_of

LARGEST = 20
"""Nodes: the longest spelling of a layer normalisation that we have met has 14."""


def _axes(node: ir.Node) -> tuple[int, ...] | None:
    axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if axes is None else tuple(int(a) for a in axes)


def _mean(node: ir.Node, x: Array, *_axes_operand: Array) -> Array:
    return np.asarray(np.mean(x, axis=_axes(node), keepdims=bool(node.attributes.get_int("keepdims", 1))))


def _sum(node: ir.Node, x: Array, *_axes_operand: Array) -> Array:
    return np.asarray(np.sum(x, axis=_axes(node), keepdims=bool(node.attributes.get_int("keepdims", 1))))


def _unsqueeze(node: ir.Node, x: Array, *_axes_operand: Array) -> Array:
    return np.expand_dims(x, _axes(node) or ())


def _clip(_node: ir.Node, x: Array, low: Array | float = -np.inf, high: Array | float = np.inf) -> Array:
    return np.asarray(np.minimum(np.maximum(x, low), high))


def _hard_sigmoid(node: ir.Node, x: Array) -> Array:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return np.asarray(np.clip(alpha * x + beta, 0.0, 1.0))


Numpy = Callable[..., Array]
ARITHMETIC: dict[str, Numpy] = {
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Div": lambda _, a, b: a / b,
    "Pow": lambda _, a, b: a**b,
    "Neg": lambda _, a: -a,
    "Sqrt": lambda _, a: np.sqrt(a),
    "Reciprocal": lambda _, a: 1 / a,
    "Max": lambda _, *a: np.maximum.reduce(np.broadcast_arrays(*a)),
    "Identity": lambda _, a: a,
    "Cast": lambda _, a: a,
}
"""Operators that both kinds of formula use; a Cast only between floats."""
POINTWISE: dict[str, Numpy] = ARITHMETIC | {
    "Erf": lambda _, a: special.erf(a),
    "Exp": lambda _, a: np.exp(a),
    "Tanh": lambda _, a: np.tanh(a),
    "Sigmoid": lambda _, a: special.expit(a),
    "Softplus": lambda _, a: np.logaddexp(a, 0),
    "Relu": lambda _, a: np.maximum(a, 0),
    "Min": lambda _, *a: np.minimum.reduce(np.broadcast_arrays(*a)),
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
}
"""Operators of activation functions."""
NORMALISING: dict[str, Numpy] = ARITHMETIC | {"ReduceMean": _mean, "ReduceSum": _sum, "Unsqueeze": _unsqueeze}
"""Operators of normalisations."""


@dataclass(frozen=True)
class Region:
    """The nodes that make ``y`` of ``x`` and constants, in topological order."""

    x: ir.Value
    y: ir.Value
    nodes: tuple[ir.Node, ...]
    table: Mapping[str, Numpy]

    @property
    def root(self) -> ir.Node:
        """The node that makes ``y``."""
        return self.nodes[-1]

    @property
    def operators(self) -> frozenset[str]:
        """Their names."""
        return frozenset(n.op_type for n in self.nodes)

    @property
    def constants(self) -> list[ir.Value]:
        """Constant operands."""
        return [v for n in self.nodes for v in n.inputs if v is not None and constant_of(v) is not None]

    @property
    def rank(self) -> int | None:
        """Number of axes of ``x``, where it is known."""
        return None if self.x.shape is None else len(self.x.shape)

    def __call__(self, x: Array) -> Array:
        """``y`` in float64. ValueError where the constants do not broadcast against this ``x``."""
        known: dict[ir.Value, Array] = {self.x: x.astype(np.float64)}
        with np.errstate(all="ignore"):
            for node in self.nodes:
                operands = [_number(v, known) for v in node.inputs if v is not None]
                known[node.outputs[0]] = self.table[node.op_type](node, *operands)
        return known[self.y]


def _number(value: ir.Value, known: Mapping[ir.Value, Array]) -> Array:
    if value in known:
        return known[value]
    constant = constant_of(value)
    assert constant is not None
    return constant.astype(np.float64)


def regions(y: ir.Value, order: Mapping[ir.Node, int], table: Mapping[str, Numpy]) -> Iterator[Region]:
    """The regions of operators of ``table`` that end in ``y``, smallest first.

    Args:
        y: The result.
        order: Place of every node of the graph; the latest value is traced back first, so that one alone is left only
            where everything since comes from it.
        table: Operators that may be inside.
    """
    open_ends, inside = {y}, list[ir.Node]()
    while len(inside) < LARGEST and open_ends:
        value = max(open_ends, key=lambda v: _place(v, order))
        node = value.producer()
        if node is None or node not in order or not _allowed(node, table):
            return
        inside.append(node)
        open_ends.remove(value)
        open_ends |= {v for v in node.inputs if v is not None and constant_of(v) is None}
        if len(open_ends) == 1:
            (x,) = open_ends
            yield Region(x, y, tuple(reversed(inside)), table)


def places(graph: ir.Graph) -> dict[ir.Node, int]:
    """Place of every node of a graph, subgraphs not included."""
    return {node: place for place, node in enumerate(graph)}


def _place(value: ir.Value, order: Mapping[ir.Node, int]) -> int:
    node = value.producer()
    return -1 if node is None else order.get(node, -1)


def _allowed(node: ir.Node, table: Mapping[str, Numpy]) -> bool:
    """A Clip may leave out its lower bound, but not before an upper one: numpy's operands have no holes."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in table or None in node.inputs or len(node.outputs) != 1:
        return False
    if node.op_type == "Cast":
        return node.attributes.get_int("to", 0) in (int(ir.DataType.FLOAT), int(ir.DataType.DOUBLE))
    return node.outputs[0].dtype is None or node.outputs[0].dtype in FLOATS
