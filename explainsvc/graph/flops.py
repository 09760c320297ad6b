"""Multiply-adds of one node, from static shapes: convolutions, matrix products, recurrent layers, linear models.

All else counts 0, as in the tables of papers: a ReLU, a sum or a normalisation is little beside a product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from math import prod

import onnx_ir as ir

from explainsvc.autograd.subscripts import ELLIPSIS, spelt_out, terms_of
from explainsvc.graph.passes.rewrite import constant_of

Shape = tuple[int, ...]
ShapeOf = Callable[[ir.Value], Shape | None]
"""A value's static shape, None where some length is not known."""


class _UnknownError(Exception):
    """A shape or a number of rounds that only run time knows."""


class _View:
    """One node and the shapes of what it reads and writes."""

    def __init__(self, node: ir.Node, shape_of: ShapeOf) -> None:
        self.node, self.shape_of = node, shape_of

    def input(self, index: int) -> Shape:
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        return self._known(value)

    @property
    def output(self) -> Shape:
        return self._known(self.node.outputs[0])

    def flag(self, name: str) -> bool:
        return self.node.attributes.get_int(name, 0) != 0

    def _known(self, value: ir.Value | None) -> Shape:
        shape = None if value is None else self.shape_of(value)
        if shape is None:
            raise _UnknownError
        return shape


def multiply_adds(node: ir.Node, shape_of: ShapeOf) -> int | None:
    """How many multiply-adds a node does; None where shapes that matter are not known."""
    try:
        return _count(node, shape_of)
    except _UnknownError:
        return None


def _count(node: ir.Node, shape_of: ShapeOf) -> int:
    view = _View(node, shape_of)
    if node.op_type in _FORMULAS:
        return _FORMULAS[node.op_type](view)
    inside = [sum(_count(inner, shape_of) for inner in graph) for graph in _subgraphs(node)]
    most = max(inside, default=0)  # of the branches of an If one runs
    return most and most * _rounds(view)


def _subgraphs(node: ir.Node) -> Iterable[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()


def _rounds(view: _View) -> int:
    """How often a body runs: once in an If, per element along the axis in a Scan, as often as a Loop's constant says."""
    if view.node.op_type == "Scan":
        sequences = view.node.attributes.get_int("num_scan_inputs", 1)
        axes = view.node.attributes.get_ints("scan_input_axes", [0] * sequences)
        return view.input(len(view.node.inputs) - sequences)[axes[0]]
    if view.node.op_type == "Loop":
        count = constant_of(view.node.inputs[0])
        if count is None:
            raise _UnknownError
        return int(count.item())
    return 1


def _convolution(weight: int) -> Callable[[_View], int]:
    """Every element of the result sums over in/group · kernel elements; W is [out, in/group, kernel…]."""
    return lambda v: prod(v.output) * prod(v.input(weight)[1:])


def _transposed_convolution(v: _View) -> int:
    """Every element of the input goes to out/group · kernel places; W is [in, out/group, kernel…]."""
    return prod(v.input(0)) * prod(v.input(1)[1:])


def _gemm(v: _View) -> int:
    return prod(v.output) * v.input(0)[0 if v.flag("transA") else 1]


def _matmul(v: _View) -> int:
    return prod(v.output) * v.input(0)[-2 if v.flag("transA") else -1]


def _recurrent(v: _View) -> int:
    """Every step of every sequence multiplies with W and R of all gates and directions."""
    return prod(v.input(0)[:2]) * (prod(v.input(1)) + prod(v.input(2)))


def _linear_model(v: _View) -> int:
    return prod(v.input(0)[:-1]) * len(v.node.attributes.get_floats("coefficients", []))


def _einsum(v: _View) -> int:
    """Operands contracted from left to right: a letter that no later operand and not the result has is summed over."""
    text = v.node.attributes.get_string("equation", "")
    shapes = [v.input(i) for i in range(len(v.node.inputs))]
    hidden = [len(s) - len(t.replace(ELLIPSIS, "")) for t, s in zip(terms_of(text), shapes, strict=True)]
    equation = spelt_out(text, hidden)
    lengths = {letter: n for t, s in zip(equation.operands, shapes, strict=True) for letter, n in zip(t, s, strict=True) if n > 1}
    left, total = set(equation.operands[0]), 0
    for i, term in enumerate(equation.operands[1:], start=2):
        together = left | set(term)
        total += prod(lengths.get(letter, 1) for letter in together)
        left = together & set(chain(equation.result, *equation.operands[i:]))
    return total


def _unknown(_: _View) -> int:
    raise _UnknownError


_FORMULAS: dict[str, Callable[[_View], int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "NhwcConv", "DeformConv"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys("MatMul MatMulInteger MatMulIntegerToFloat QLinearMatMul DynamicQuantizeMatMul MatMulNBits".split(), _matmul),
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), _matmul),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    **dict.fromkeys(("LinearRegressor", "LinearClassifier"), _linear_model),
    "Einsum": _einsum,
}
_PRODUCTS_WITHIN = frozenset(
    "Attention MultiHeadAttention GroupQueryAttention QAttention DecoderMaskedMultiHeadAttention".split()
)
"""Counted by their bodies; of one that was not expanded nobody knows."""
_FORMULAS |= dict.fromkeys(_PRODUCTS_WITHIN, _unknown)
