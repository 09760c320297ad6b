"""The vjp of an operator by its definition: what it computes, written in simpler operators, is differentiated.

For operators whose derivative is long and whose definition is short. The definition is emitted a second time beside the
node; where the rule of the simpler operators does not need its values, they are removed as unused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import apply_vjps, is_stop
from explainsvc.autograd.shapes import Shape
from explainsvc.autograd.view import NodeView

Definition = Callable[..., Term]
"""``(n, *operands) -> result``; omitted operands are None."""

_NUMBERS = (None, ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def pullback(n: NodeView, definition: Definition, g: Term) -> Mapping[int, Term | None]:
    """The gradients of the asked operands of ``n``, whose first result ``definition`` computes as well."""
    emit, last = n.emit, _last(n)
    # copies of the asked operands: one value may be several operands, and may be read elsewhere
    copies = {i: emit.op("Identity", n.input(i), shape=n.input(i).shape) for i in n.asked}
    result = definition(n, *(copies.get(i, term) for i, term in enumerate(n.inputs)))
    written = list(takewhile(lambda node: node is not last, reversed(n.emit.graph)))
    found = {result.value: g}
    _walk(n, written, found, {c.value for c in copies.values()})
    return {i: _shaped(found.get(copy.value), n.input(i).shape) for i, copy in copies.items()}


def _last(n: NodeView) -> ir.Node:
    return next(iter(reversed(n.emit.graph)))


def _walk(n: NodeView, nodes: list[ir.Node], found: dict[ir.Value, Term], wanted: set[ir.Value]) -> None:
    """From the results back to ``wanted`` through ``nodes``, last first. All of them have rules: we wrote them."""
    reached = set(wanted)
    for node in reversed(nodes):
        if any(v in reached for v in node.inputs if v is not None):
            reached.update(v for v in node.outputs if v.dtype in _NUMBERS)
    for node in nodes:
        for value, term in _sent(n, node, found, reached):
            found[value] = found[value] + term if value in found else term


def _sent(n: NodeView, node: ir.Node, found: Mapping[ir.Value, Term], reached: set[ir.Value]) -> Iterator[tuple[ir.Value, Term]]:
    results = [found.get(v) for v in node.outputs]
    asked = tuple(i for i, v in enumerate(node.inputs) if v in reached)
    view = NodeView(node, n.emit, asked)
    if not asked or all(r is None for r in results) or is_stop(view):
        return
    for i, term in apply_vjps(view, *results).items():
        value = node.inputs[i]
        if value is not None and term is not None:
            yield value, term


def _shaped(term: Term | None, shape: Shape | None) -> Term | None:
    """The gradient of an operand has its shape."""
    if term is not None and term.shape is None and shape is not None:
        term.value.shape = ir.Shape(shape)
    return term
