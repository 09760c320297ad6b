"""One forward node as a rule sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import Array


@dataclass(frozen=True)
class NodeView:
    """Operands and results as terms, attributes with defaults.

    ``asked``: the operands that lead to a wanted value; all others are constants to the rule.
    """

    node: ir.Node
    emit: Emitter
    asked: tuple[int, ...] = ()

    @property
    def op_type(self) -> str:
        """The ONNX operator."""
        return self.node.op_type

    def input(self, index: int) -> Term:
        """Operand ``index``, which must be present."""
        value = self.node.inputs[index]
        assert value is not None, f"{self.node.name}: input {index} is absent"
        return Term(value, self.emit)

    @property
    def inputs(self) -> tuple[Term | None, ...]:
        """All operands; None for an omitted one."""
        return tuple(None if v is None else self.input(i) for i, v in enumerate(self.node.inputs))

    @property
    def x(self) -> Term:
        """Operand 0."""
        return self.input(0)

    @property
    def y(self) -> Term:
        """Result 0."""
        return Term(self.node.outputs[0], self.emit)

    def has(self, index: int) -> bool:
        """Whether operand ``index`` is present."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def attr(self, name: str, default: Any = None) -> Any:
        """Attribute ``name`` as a plain Python value (int, float, str, tuple), or ``default``."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        return tuple(attribute.value) if isinstance(attribute.value, (list, tuple)) else attribute.value

    def const(self, index: int) -> Array | None:
        """Operand ``index`` as a numpy array where it is a constant of the graph, else None."""
        if not self.has(index):
            return None
        value = self.input(index).value
        return None if value.const_value is None else value.const_value.numpy()

    def replace(self, operands: dict[int, Term | None]) -> NodeView:
        """The same operator emitted once more on other operands: ``n.replace({1: w_plus}).y`` is its result."""
        inputs = [operands.get(i, term) for i, term in enumerate(self.inputs)]
        attributes = dict(self.node.attributes.items())
        values = self.emit.append(
            self.op_type,
            [None if t is None else t.value for t in inputs],
            len(self.node.outputs),
            self.node.domain,
            attributes,
        )
        for new, old in zip(values, self.node.outputs, strict=True):
            new.shape, new.type = old.shape, old.type
        node = values[0].producer()
        assert node is not None
        return NodeView(node, self.emit, self.asked)

    def where(self) -> str:
        """How a user finds this node: name and operator."""
        return f'node "{self.node.name or self.node.outputs[0].name}" ({self.node.op_type})'
