"""One walk over a quantised graph that finds the real twin of every quantised value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.autograd.vjps.stop import STRAIGHT_THROUGH
from explainsvc.graph.passes.rewrite import Rewriter, constant_of

CLIP_OPERANDS_FROM = 11
"""Before, the bounds of Clip were attributes."""
_LAYERS = frozenset("Conv ConvTranspose Gemm MatMul Add Sub Mul BatchNormalization Sum".split())
"""Where a range that starts at 0 comes from a ReLU that the quantiser swallowed."""


@dataclass(frozen=True)
class Twin:
    """The real numbers that a quantised value stands for, and how: (q − zero) · scale."""

    value: ir.Value
    scale: Array
    zero: Array

    def counts_like(self, scale: Array, zero: Array) -> bool:
        """Whether a value quantised so is this one."""
        return bool(np.array_equal(self.scale, scale) and np.array_equal(self.zero, zero))


class Walk:
    """One walk over a graph: the twins found so far, and what new nodes are written with."""

    def __init__(self, graph: ir.Graph, straight_through: bool = False) -> None:
        self.write = Rewriter(graph)
        self.straight_through = straight_through
        self.twins: dict[ir.Value, Twin] = {}
        self.counting: list[ir.Node] = []
        """New products whose weights are still integers: their scale comes later in the graph."""
        self.replaced = 0
        self._clip_by_attributes = graph.opset_imports.get("", CLIP_OPERANDS_FROM) < CLIP_OPERANDS_FROM

    def real(self, node: ir.Node, operand: int, scale: int, zero: int, axis: int | None = None) -> ir.Value:
        """Operand ``operand`` of ``node`` in real numbers; ``axis``: along which a vector of scales runs."""
        q, s, z = (node.inputs[i] if i < len(node.inputs) else None for i in (operand, scale, zero))
        assert q is not None
        factor, offset = constant_of(s), constant_of(z)
        if factor is None or (z is not None and offset is None):
            raise NotConstantError
        known = constant_of(q)
        offset = np.zeros_like(factor) if offset is None else offset.astype(factor.dtype)
        if known is not None:
            numbers = (known.astype(factor.dtype) - along(offset, known.ndim, axis)) * along(factor, known.ndim, axis)
            return self.write.constant(numbers, unquantised(q.name or ""))
        twin = self.twins.get(q)
        if twin is None:  # integers from outside: a leaf
            return self.write.before(node, "DequantizeLinear", [q, s, z])
        if twin.counts_like(factor, offset):
            return twin.value
        counted = self.integers(node, twin)
        centred = self.write.before(node, "Sub", [counted, self.write.constant(offset, "zero")])
        return self.write.before(node, "Mul", [centred, self.write.constant(factor, "scale")])

    def integers(self, node: ir.Node, twin: Twin) -> ir.Value:
        """q of a twin as float, unrounded: value / scale + zero."""
        value = twin.value
        if not np.all(twin.scale == 1):
            value = self.write.before(node, "Div", [value, self.write.constant(twin.scale, "scale")])
        if np.any(twin.zero != 0):
            value = self.write.before(node, "Add", [value, self.write.constant(twin.zero, "zero")])
        return value

    def quantised(self, node: ir.Node, value: ir.Value, scale: int, zero: int, axis: int | None = None) -> None:
        """Result 0 of ``node`` is ``value`` quantised: within its range the twin is ``value``, outside it saturates."""
        s, z = node.inputs[scale], node.inputs[zero] if zero < len(node.inputs) else None
        factor, offset = constant_of(s), constant_of(z)
        if factor is None or (z is not None and offset is None):
            raise NotConstantError
        dtype = ir.DataType.UINT8 if z is None or z.dtype is None else z.dtype
        low, high = range_of(dtype)
        offset = np.zeros_like(factor) if offset is None else offset.astype(factor.dtype)
        if factor.size > 1:
            known = constant_of(value)
            if known is None or axis is None:
                raise NotConstantError
            factor_, offset_ = along(factor, known.ndim, axis), along(offset, known.ndim, axis)
            value = self.write.constant((_rounded(known, factor_, offset_, low, high) - offset_) * factor_, "fake_quantised")
        elif (known := constant_of(value)) is not None:  # weights: rounded once and for all
            value = self.write.constant((_rounded(known, factor, offset, low, high) - offset) * factor, "fake_quantised")
        else:
            value = self._saturated(
                node, value, (low - float(offset)) * float(factor), (high - float(offset)) * float(factor), factor
            )
        self.twins[node.outputs[0]] = Twin(value, factor, offset)

    def _saturated(self, node: ir.Node, value: ir.Value, low: float, high: float, step: Array) -> ir.Value:
        """Clip half a step beyond the range, as far as rounding comes back into it; a swallowed ReLU ends at 0 itself."""
        maker = value.producer()
        half = 0.499 if self.straight_through else 0.5  # of what is rounded afterwards nothing may round out of the range
        edges = (low - half * step.item(), high + half * step.item())
        if low == 0.0 and maker is not None and maker.op_type in _LAYERS:
            value = self.write.before(node, "Relu", [value])
        if self._clip_by_attributes:
            clipped = self.write.before(node, "Clip", [value], dict(zip(("min", "max"), edges, strict=True)))
        else:
            bounds = [self.write.constant(np.array(e, step.dtype), "edge") for e in edges]
            clipped = self.write.before(node, "Clip", [value, *bounds])
        return self._to_steps(node, clipped, step) if self.straight_through else clipped

    def _to_steps(self, node: ir.Node, value: ir.Value, step: Array) -> ir.Value:
        """Rounded to whole steps, ties to even as QuantizeLinear has it, by a Round that gradients pass unchanged."""
        scale = self.write.constant(step, "scale")
        rounded = self.write.before(node, "Round", [self.write.before(node, "Div", [value, scale])])
        maker = rounded.producer()
        assert maker is not None
        maker.metadata_props[STRAIGHT_THROUGH] = "1"
        return self.write.before(node, "Mul", [rounded, scale])

    def float_result(self, node: ir.Node, value: ir.Value) -> None:
        """A float result of the quantised graph is ``value`` from here on."""
        old = node.outputs[0]
        if old.is_graph_output():
            self.write.replace(node, self.write.before(node, "Identity", [value]))
        else:
            old.replace_all_uses_with(value)
        self.replaced += 1


class NotConstantError(Exception):
    """Scales that the graph computes: the node is left as it is."""


def range_of(dtype: ir.DataType) -> tuple[int, int]:
    """Smallest and largest number of an integer type."""
    if not dtype.is_integer():
        raise NotConstantError
    bits, signed = dtype.bitwidth, dtype.is_signed()
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def along(vector: Array, rank: int, axis: int | None) -> Array:
    """A vector of scales along ``axis``; scalars, and vectors along the last axis, as they are."""
    return vector if axis is None or vector.size == 1 else vector.reshape([-1 if k == axis % rank else 1 for k in range(rank)])


def _rounded(x: Array, scale: Array, zero: Array, low: int, high: int) -> Array:
    rounded: Array = np.clip(np.rint(x / scale) + zero, low, high).astype(x.dtype)
    return rounded


def unquantised(name: str) -> str:
    """The weight's name before the quantiser's: parameter units are known by it."""
    return name.removesuffix("_quantized") or "dequantised"
