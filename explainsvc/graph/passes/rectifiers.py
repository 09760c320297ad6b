"""Max(x, 0), and Clip(x) from 0 without an upper bound, become Relu: rules for rectifiers then see one.

What the graph computes is the same to the last bit. Where x is 0 itself the derivative of a maximum is a choice; it is that of
Relu afterwards, 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.graph.passes.rewrite import Rewriter, constant_of
from explainsvc.graph.passes.shapes import infer_shapes

_BOUNDED = frozenset({"Max", "Clip"})


def rectifiers_to_relu(model: ir.Model) -> bool:
    """Replaces them in place; True when there was one."""
    write, found = Rewriter(model.graph), False
    graphs = (model.graph, *model.graph.subgraphs())
    candidates = [n for graph in graphs for n in graph if n.op_type in _BOUNDED and n.domain == "" and _has_zero(n)]
    if any(v is not None and v.shape is None for n in candidates for v in n.inputs[:2]):
        infer_shapes(model)  # whether a zero of shape [1] adds an axis; not every exporter writes shapes down
    for node in candidates:
        x = _rectified(node)
        if x is not None:
            write.replace(node, write.before(node, "Relu", [x], {}, node.outputs[0].dtype, name=node.name or ""))
            found = True
    if found:
        common.RemoveUnusedNodesPass()(model)
    return found


def _has_zero(node: ir.Node) -> bool:
    return any(_is_zero(value) for value in node.inputs[:2])


def _rectified(node: ir.Node) -> ir.Value | None:
    """x where a node computes max(x, 0)."""
    if node.op_type == "Max":
        pairs = (node.inputs, node.inputs[::-1]) if len(node.inputs) == 2 else ()
        return next((x for x, low in pairs if x is not None and _is_zero(low) and _rank(low) <= _rank(x)), None)
    unbounded = len(node.inputs) < 3 or _is_no_bound(node.inputs[2])
    return node.inputs[0] if _is_zero(node.inputs[1]) and unbounded else None


def _rank(value: ir.Value | None) -> int:
    return 0 if value is None or value.shape is None else len(value.shape)


def _is_zero(value: ir.Value | None) -> bool:
    """One floating-point number, 0."""
    number = constant_of(value)
    return number is not None and number.dtype.kind == "f" and number.size == 1 and number.item() == 0


def _is_no_bound(high: ir.Value | None) -> bool:
    number = constant_of(high)
    return high is None or (number is not None and number.size == 1 and bool(number.item() >= np.finfo(number.dtype).max))
