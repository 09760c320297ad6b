"""DeepLIFT where elements compete: softmax, the logarithm of a sum of exponentials, maxima.

Maxima give Δy to the element that is the extremum on the side with the more extreme y: its Δx is no smaller than Δy and has
its sign, so that multipliers lie in [0, 1]. It is the rule of shap's DeepExplainer for max-pooling. (Extreme elements that
are equal share evenly, but in MaxPool, where the first one gets all, as in its derivative.)
"""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.reference import NEAR, Reference
from explainsvc.autograd.vjps.reduce import again, kept
from explainsvc.autograd.vjps.softmax import is_replaced
from explainsvc.rules.deeplift import only

SMALL = 1e-2
"""Below it (t/2)/tanh(t/2) is 1 + t²/12 to 1e-11."""


def deeplift_softmax(reference: Reference) -> Rule:
    """y = e/s, e = exp x, s = Σe: exponentials rescaled, the quotient by its rule: m_x = (Δe/Δx)/s̄ (m_y − Σ ȳ m_y)."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        axes = [n.attr("axis", -1)]
        slopes = _slopes(n.x, n.y, reference.at(n.y), _rise(n, axes, reference), reference)
        back = slopes * (m - n.emit.sum(m * reference.middle(n.y), axes))
        if is_replaced(n.y.value):  # the NaN of fully masked rows, where m is 0
            back = n.emit.where(n.emit.op("IsNaN", back, dtype=ir.DataType.BOOL, shape=back.shape), 0.0, back)
        return [back]

    return rule


def deeplift_log_softmax(reference: Reference) -> Rule:
    """y = x − L, L = log Σ exp x: m_x = m_y − q Σ m_y, q as in :func:`deeplift_log_sum_exp`."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        axes = [n.attr("axis", -1)]
        y, y0 = (n.emit.op("Exp", t) for t in (n.y, reference.at(n.y)))
        return [m - _log_slopes(n.x, y, y0, _rise(n, axes, reference), reference) * n.emit.sum(m, axes)]

    return rule


def deeplift_log_sum_exp(reference: Reference) -> Rule:
    """L = log s, s = Σe, e = exp x, each rescaled: m_x = m_y q, q = (Δe/Δx) (ΔL/Δs)."""

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        level, level0 = kept(n, n.y), kept(n, reference.at(n.y))
        y, y0 = n.emit.op("Exp", n.x - level), n.emit.op("Exp", reference.at(n.x) - level0)
        return only(n, 0, kept(n, m) * _log_slopes(n.x, y, y0, level - level0, reference))

    return rule


def _rise(n: NodeView, axes: list[int], reference: Reference) -> Term:
    """ΔL, L = log Σ exp x, by the largest element of each side: its logit less its log-probability."""

    def level(x: Term, y: Term) -> Term:
        tops = [n.emit.op("ReduceMax", t, n.emit.ints(axes), keepdims=1, shape=n.emit.sum(t, axes).shape) for t in (x, y)]
        return tops[0] - (n.emit.op("Log", tops[1]) if n.op_type == "Softmax" else tops[1])

    return level(n.x, n.y) - level(reference.at(n.x), reference.at(n.y))


def _slopes(x: Term, y: Term, y0: Term, rise: Term, reference: Reference) -> Term:
    """(Δe/Δx)/s̄ with e = exp x = y s and ``rise`` = ΔL: s/s̄ = 2σ(ΔL), s′/s̄ = 2σ(−ΔL), which cannot overflow."""
    e, e0 = (p * (2 * x.emit.op("Sigmoid", r)) for p, r in ((y, rise), (y0, -rise)))
    return x.emit.where(reference.apart(x), (e - e0) / reference.difference(x), e)


def _log_slopes(x: Term, y: Term, y0: Term, rise: Term, reference: Reference) -> Term:
    """q = Δe/Δx · ΔL/Δs: Δs/s̄ = 2 tanh(ΔL/2)."""
    half = rise * 0.5
    near, ratio = 1 + rise * rise / 12, half / x.emit.op("Tanh", half)
    return _slopes(x, y, y0, rise, reference) * x.emit.where(x.emit.op("Abs", rise) < SMALL, near, ratio)


def deeplift_extremum(reference: Reference) -> Rule:
    """Max and Min of several operands."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        y, y0 = n.y, reference.at(n.y)
        beyond = y >= y0 if n.op_type == "Max" else y <= y0
        terms = [t for t in n.inputs if t is not None]
        chosen = [_chosen(t, y, reference.at(t), y0, beyond) for t in terms]
        evenly = m / sum(chosen[1:], start=chosen[0])
        rise = reference.difference(y)
        sent = [_share(t, c * evenly, rise, reference) for t, c in zip(terms, chosen, strict=True)]
        return [n.emit.sum_to(s, t) if i in n.asked else None for i, (s, t) in enumerate(zip(sent, terms, strict=True))]

    return rule


def deeplift_reduced_extremum(reference: Reference) -> Rule:
    """ReduceMax and ReduceMin."""

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        y, y0 = kept(n, n.y), kept(n, reference.at(n.y))
        beyond = y >= y0 if n.op_type == "ReduceMax" else y <= y0
        chosen = _chosen(n.x, y, reference.at(n.x), y0, beyond)
        return only(n, 0, _share(n.x, kept(n, m) * (chosen / again(n, "ReduceSum", chosen)), y - y0, reference))

    return rule


def _chosen(x: Term, y: Term, x0: Term, y0: Term, beyond: Term) -> Term:
    """1 at the elements that are the extremum, on the side where it is the more extreme."""
    return x.emit.mask(x.emit.where(beyond, x, x0).equals(x.emit.where(beyond, y, y0)), x)


def _share(x: Term, m: Term, rise: Term, reference: Reference) -> Term:
    """m Δy/Δx, or m itself where |Δx| < 1e-7; ``m`` is 0 but at the chosen elements."""
    return x.emit.where(reference.apart(x), m * rise / reference.difference(x), m)


def deeplift_max_pool(reference: Reference) -> Rule:
    """MaxPool."""

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        emit, x, x0, y, y0 = n.emit, n.x, reference.at(n.x), n.y, reference.at(n.y)
        flat = emit.reshape(emit.where(y >= y0, _winners(n, x), _winners(n, x0)), [-1])
        won, won0 = (emit.reshape_like(emit.op("Gather", emit.reshape(t, [-1]), flat), y) for t in (x, x0))
        apart = emit.op("Abs", won - won0) >= NEAR
        sent = emit.where(apart, m * reference.difference(y) / (won - won0), m)
        zeros = emit.reshape(emit.zeros_like(x), [-1])
        placed = emit.op("ScatterElements", zeros, flat, emit.reshape(sent, [-1]), reduction="add")
        return [emit.reshape_like(placed, x)]

    return rule


def _winners(n: NodeView, x: Term) -> Term:
    """Row-major positions, over the whole of ``x``, of the largest element of each window."""
    names = ("kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode")
    _, positions = n.emit.ops("MaxPool", x, count=2, shape=n.y.shape, **{k: n.attr(k) for k in names})
    positions.value.type = ir.TensorType(ir.DataType.INT64)
    return positions
