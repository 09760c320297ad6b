"""Pools: max, average and p-norm, over windows and over everything."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.sliding import count_cells, spread_ones
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.windows import INT64, Windows, static_sizes, windows_of


@vjp("MaxPool")
def _max_pool(n: NodeView, g: Term, *_: Term | None) -> Term:
    """The whole gradient of a window goes to its first largest cell, which onnxruntime's Indices name.

    Indices count over the whole N×C×spatial tensor without padding. The alternative without Indices, comparing every
    cell with the maximum and placing the hits by ConvTranspose, takes 0.9–2.3 times as long (2 threads; k3 s2, k2 s2,
    k5 s1); ScatterND takes 1.1–1.3 times as long as ScatterElements, reduction "none" for disjoint windows no less.
    """
    emit = n.emit
    zeros = emit.reshape(emit.zeros_like(n.x), [-1])
    flat = emit.op("ScatterElements", zeros, emit.reshape(_winners(n), [-1]), emit.reshape(g, [-1]), reduction="add")
    return emit.reshape_like(flat, n.x)


def _winners(n: NodeView) -> Term:
    """Indices in row-major order: those of the node where it gives them, else from a second MaxPool."""
    if len(n.node.outputs) > 1 and n.node.outputs[1].name and not n.attr("storage_order", 0):
        return n.emit.term(n.node.outputs[1])
    names = ("kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode")
    _, winners = n.emit.ops("MaxPool", n.x, count=2, shape=n.y.shape, **{k: n.attr(k) for k in names})
    winners.value.type = ir.TensorType(INT64)
    return winners


@vjp("AveragePool")
def _average_pool(n: NodeView, g: Term) -> Term:
    win = windows_of(n)
    return spread_ones(g / _divisor(n, win), win, n.x)


def _divisor(n: NodeView, win: Windows) -> Term | float:
    """How many cells each window averages over: padding only with count_include_pad, beyond it (ceil_mode) never."""
    padding_counts = n.attr("count_include_pad", 0) == 1
    padded = isinstance(win.begin, Term) or isinstance(win.end, Term) or bool(win.begin.any() or win.end.any())
    full = not n.attr("ceil_mode", 0) and (padding_counts or not padded)
    return float(np.prod(win.cells)) if full else count_cells(n.x, n.y, win, padding_counts)


@vjp("LpPool")
def _lp_pool(n: NodeView, g: Term) -> Term:
    """From y = (Σ|x|ᵖ)^(1/p): ∂y/∂x = sign(x) |x|ᵖ⁻¹ / yᵖ⁻¹."""
    return spread_ones(_over_norm(n, g), windows_of(n), n.x) * _signed_power(n)


@vjp("GlobalLpPool")
def _global_lp_pool(n: NodeView, g: Term) -> Term:
    return _over_norm(n, g) * _signed_power(n)


def _over_norm(n: NodeView, g: Term) -> Term:
    """Upstream g / yᵖ⁻¹; where the norm is zero, so is every factor |x|ᵖ⁻¹ of it."""
    p = n.attr("p", 2)
    y = n.emit.where(n.y > 0, n.y, 1.0)
    return g if p == 1 else g / (y if p == 2 else y ** (p - 1))


def _signed_power(n: NodeView) -> Term:
    """sign(x) |x|ᵖ⁻¹."""
    p, op = n.attr("p", 2), n.emit.op
    return n.x if p == 2 else op("Sign", n.x) if p == 1 else op("Sign", n.x) * op("Abs", n.x) ** (p - 1)


@vjp("GlobalAveragePool")
def _global_average_pool(n: NodeView, g: Term) -> Term:
    return n.emit.expand_like(g / _cells(n), n.x)


def _cells(n: NodeView) -> Term | float:
    """Number of spatial cells."""
    sizes = static_sizes(n.x)
    if sizes is not None:
        return float(np.prod(sizes))
    count = n.emit.op("ReduceProd", n.emit.op("Shape", n.x, dtype=INT64, start=2), keepdims=0)
    return n.emit.cast(count, n.x.dtype or n.emit.float_type)


@vjp("GlobalMaxPool")
def _global_max_pool(n: NodeView, g: Term) -> Term:
    """All to the first largest cell, as MaxPool over everything would do."""
    emit, rows = n.emit, [0, 0, -1]
    x = emit.reshape(n.x, rows)
    winners = emit.op("ArgMax", x, dtype=INT64, axis=2, keepdims=1)
    spiked = emit.op("ScatterElements", emit.zeros_like(x), winners, emit.reshape(g, rows), axis=2)
    return emit.reshape_like(spiked, n.x)
