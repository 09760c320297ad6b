"""Softmax and its logarithm over one axis (opset 13 and later; older forms flatten and are converted up)."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView


def is_replaced(value: ir.Value) -> bool:
    """Whether a Where chooses between the softmax and something else, as attention does at fully masked rows."""
    return any(
        user.op_type == "Where" or (user.op_type in ("Cast", "Identity") and is_replaced(user.outputs[0]))
        for user, _ in value.uses()
    )


def _finite(n: NodeView) -> Term:
    """The softmax; 0 for NaN, the softmax of a fully masked row, where the model replaces it: 0 · NaN is not 0."""
    if not is_replaced(n.y.value):
        return n.y
    return n.emit.where(n.emit.op("IsNaN", n.y, dtype=ir.DataType.BOOL, shape=n.y.shape), 0.0, n.y)


@vjp("Softmax")
def _softmax(n: NodeView, g: Term) -> Term:
    """∂ = y (g − Σ g y)."""
    y = _finite(n)
    weighted = g * y
    return weighted - y * n.emit.sum(weighted, [n.attr("axis", -1)])


@vjp("LogSoftmax")
def _log_softmax(n: NodeView, g: Term) -> Term:
    """∂ = g − softmax(x) Σ g."""
    return g - n.emit.op("Exp", n.y) * n.emit.sum(g, [n.attr("axis", -1)])
