"""Normalisations over the last axes: LayerNormalization, RMSNormalization, and onnxruntime's fused relatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp, vjp_each
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.norm import EPSILON, Standardised, inverse_root
from explainsvc.autograd.vjps.pointwise import total_of
from explainsvc.autograd.vjps.reduce import count
from explainsvc.errors import NotDifferentiable

MICROSOFT = "com.microsoft"
SKIP_EPSILON = 1e-12
"""onnxruntime's default for SkipLayerNormalization."""


def _axes(n: NodeView, x: Term) -> list[int]:
    """The normalised axes, counted from the end where ``axis`` is."""
    axis = n.attr("axis", -1)
    if axis < 0:
        return list(range(axis, 0))
    if x.rank is None:
        raise NotDifferentiable(
            f"the rank of the operand is unknown, and axis = {axis} counts from the start",
            where=n.where(),
            expected="a known rank, or a negative axis",
            to_do="Run onnx.shape_inference on the model, or give its inputs a shape",
        )
    return list(range(axis, x.rank))


def layer_standardised(x: Term, scale: Term, axes: Sequence[int], epsilon: float) -> Standardised:
    """x̂ by the forward operator's own kernel, with a scale of ones."""
    ones = _ones_like(scale)
    value, mean, inverse = x.emit.ops("LayerNormalization", x, ones, count=3, axis=axes[0], epsilon=epsilon)
    value.like(x)
    inverse.value.shape = x.emit.mean(x, axes).value.shape
    mean.value.type = inverse.value.type = ir.TensorType(ir.DataType.FLOAT)  # stash_type = 1
    return Standardised(value, _as(inverse, x), axes)


def _as(term: Term, like: Term) -> Term:
    """``term`` in the type of ``like``: onnxruntime stashes statistics as float32."""
    dtype = like.dtype or like.emit.float_type
    return term if term.dtype == dtype else term.emit.cast(term, dtype)


def _ones_like(term: Term) -> Term:
    dims = [d for d in term.shape or () if isinstance(d, int)]
    if term.shape is not None and len(dims) == len(term.shape):
        return term.emit.constant(np.ones(dims), (term.dtype or term.emit.float_type).numpy())
    return term.emit.zeros_like(term) + 1.0


def root_mean_square(x: Term, axes: Sequence[int], epsilon: float) -> Standardised:
    """x̂ = x / √(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4)."""
    inverse = inverse_root(x.emit.mean(x * x, axes), epsilon)
    return Standardised(x * inverse, inverse, axes, centred=False)


def _layer(n: NodeView) -> Standardised:
    x, axes = n.x, _axes(n, n.x)
    epsilon = n.attr("epsilon", EPSILON)
    if n.op_type == "LayerNormalization":
        return layer_standardised(x, n.input(1), axes, epsilon)
    return root_mean_square(x, axes, epsilon)


def _x(n: NodeView, g: Term | None, *statistics: Term | None) -> Term | None:
    layer = _layer(n)
    scaled = None if g is None else layer.back(g * n.input(1))
    return total_of([scaled, *_from_statistics(n, layer, statistics)])


def _from_statistics(n: NodeView, layer: Standardised, g: Sequence[Term | None]) -> list[Term]:
    """The mean and 1/√(var + ε), where the node gives them out: ∂mean/∂x = 1/N, ∂inverse/∂x = −inverse² x̂ / N."""
    mean, inverse = (*((None,) if n.op_type == "SimplifiedLayerNormalization" else ()), *g, None, None)[:2]
    elements = count(n.x, layer.inverse)
    parts = []
    if mean is not None:
        parts.append(n.emit.expand_like(_as(mean, n.x) / elements, n.x))
    if inverse is not None:
        parts.append(-(layer.value * (_as(inverse, n.x) * layer.inverse * layer.inverse / elements)))
    return parts


def _scale(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    return None if g is None else n.emit.sum_to(g * _layer(n).value, n.input(1))


def _bias(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    return None if g is None else n.emit.sum_to(g, n.input(2))


define("LayerNormalization", _x, _scale, _bias)
define("RMSNormalization", _x, _scale)
define("SimplifiedLayerNormalization", _x, _scale)


# onnxruntime's fusions with the residual Add: the sum is output 3 -----------------------------------------------------


def _skip_sum(n: NodeView) -> Term:
    """Operand + skip + bias."""
    bias = 4 if n.op_type == "SkipLayerNormalization" else 3
    total = n.x + n.input(1)
    return total + n.input(bias) if n.has(bias) else total


def _skip_layer(n: NodeView) -> Standardised:
    epsilon, total = n.attr("epsilon", SKIP_EPSILON), _skip_sum(n)
    if n.op_type == "SkipLayerNormalization":
        return layer_standardised(total, n.input(2), [-1], epsilon)
    return root_mean_square(total, [-1], epsilon)


def _skip_total(n: NodeView, g: tuple[Term | None, ...]) -> Term | None:
    """The gradient of the sum: through the normalisation, and through the sum as a result of its own."""
    for statistic in g[1:3]:
        if statistic is not None:
            raise NotDifferentiable(
                "the statistics that this fused operator gives out have no derivative rule",
                where=n.where(),
                expected="a gradient of the normalised result or of the sum",
                to_do="Export the model without onnxruntime's fusions",
            )
    normalised = None if g[0] is None else _skip_layer(n).back(g[0] * n.input(2))
    return total_of([normalised, *g[3:]])


def _skip_summand(n: NodeView, operand: int, *g: Term | None) -> Term | None:
    total = _skip_total(n, g)
    return None if total is None else n.emit.sum_to(total, n.input(operand))


# The rules of single operands go before those of all: scale, and the bias of the normalisation.
vjp_each("SkipLayerNormalization", MICROSOFT)(_skip_summand)
vjp_each("SkipSimplifiedLayerNormalization", MICROSOFT)(_skip_summand)


@vjp("SkipLayerNormalization", 2, domain=MICROSOFT)
@vjp("SkipSimplifiedLayerNormalization", 2, domain=MICROSOFT)
def _skip_scale(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    return None if g is None else n.emit.sum_to(g * _skip_layer(n).value, n.input(2))


@vjp("SkipLayerNormalization", 3, domain=MICROSOFT)
def _skip_bias(n: NodeView, g: Term | None, *_: Term | None) -> Term | None:
    return None if g is None else n.emit.sum_to(g, n.input(3))
