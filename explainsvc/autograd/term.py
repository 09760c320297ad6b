"""A value of the graph under construction, with arithmetic on it: ``g * y`` appends a Mul."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import onnx_ir as ir

from explainsvc.autograd.shapes import Array, Shape, shape_of

if TYPE_CHECKING:
    from explainsvc.autograd.emit import Emitter

Operand: TypeAlias = "Term | Array | float | int | bool | None"


@dataclass(frozen=True)
class Term:
    """A value with arithmetic: every operator appends a node to the emitter's graph."""

    value: ir.Value
    emit: Emitter

    @property
    def shape(self) -> Shape | None:
        """Inferred shape, or None where not even the rank is known."""
        return shape_of(self.value)

    @property
    def rank(self) -> int | None:
        """Number of axes, where known."""
        return None if self.value.shape is None else len(self.value.shape)

    @property
    def dtype(self) -> ir.DataType | None:
        """Element type, where known."""
        return self.value.dtype

    def like(self, other: Term) -> Term:
        """The same term, declared to have the shape and type of ``other`` (a fact of the caller's formula)."""
        self.value.shape, self.value.type = other.value.shape, other.value.type
        return self

    def __add__(self, other: Operand) -> Term:
        return self.emit.op("Add", self, other)

    def __radd__(self, other: Operand) -> Term:
        return self.emit.op("Add", other, self)

    def __sub__(self, other: Operand) -> Term:
        return self.emit.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Term:
        return self.emit.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Term:
        return self.emit.op("Mul", self, other)

    def __rmul__(self, other: Operand) -> Term:
        return self.emit.op("Mul", other, self)

    def __truediv__(self, other: Operand) -> Term:
        return self.emit.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Term:
        return self.emit.op("Div", other, self)

    def __pow__(self, other: Operand) -> Term:
        return self.emit.op("Pow", self, other)

    def __matmul__(self, other: Operand) -> Term:
        return self.emit.op("MatMul", self, other)

    def __neg__(self) -> Term:
        return self.emit.op("Neg", self)

    def __gt__(self, other: Operand) -> Term:
        return self.emit.op("Greater", self, other, dtype=ir.DataType.BOOL)

    def __lt__(self, other: Operand) -> Term:
        return self.emit.op("Less", self, other, dtype=ir.DataType.BOOL)

    def __ge__(self, other: Operand) -> Term:
        return self.emit.op("GreaterOrEqual", self, other, dtype=ir.DataType.BOOL)

    def __le__(self, other: Operand) -> Term:
        return self.emit.op("LessOrEqual", self, other, dtype=ir.DataType.BOOL)

    def equals(self, other: Operand) -> Term:
        """Elementwise equality (bool). Not ``==``: terms are compared by identity elsewhere."""
        return self.emit.op("Equal", self, other, dtype=ir.DataType.BOOL)
