"""Softmax and its logarithm over one axis (opset 13 and later; older forms flatten and are converted up)."""

from __future__ import annotations

from explainsvc.autograd.emit import NodeView, Term
from explainsvc.autograd.registry import vjp


@vjp("Softmax")
def _softmax(n: NodeView, g: Term) -> Term:
    """∂ = y (g − Σ g y)."""
    weighted = g * n.y
    return weighted - n.y * n.emit.sum(weighted, [n.attr("axis", -1)])


@vjp("LogSoftmax")
def _log_softmax(n: NodeView, g: Term) -> Term:
    """∂ = g − softmax(x) Σ g."""
    return g - n.emit.op("Exp", n.y) * n.emit.sum(g, [n.attr("axis", -1)])
