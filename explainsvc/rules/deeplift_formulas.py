"""Operators as formulas of simpler ones, for their multipliers: normalisations, reductions, linear models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd import NodeView, Term
from explainsvc.autograd.shapes import Array
from explainsvc.autograd.vjps.layernorm import SKIP_EPSILON
from explainsvc.autograd.vjps.norm import EPSILON, along_channels
from explainsvc.rules.deeplift import refusal
from explainsvc.rules.deeplift_definitions import Definition

TINY = 1e-30
"""In place of a norm of 0."""

# Normalisations ----------------------------------------------------------------------------------------------------


def _centred(x: Term, axes: Sequence[int]) -> Term:
    return x - x.emit.mean(x, axes)


def _root(x: Term) -> Term:
    return x.emit.op("Sqrt", x, shape=x.shape)


def _standardised(x: Term, axes: Sequence[int], epsilon: float) -> Term:
    """(x − mean) / √(variance + ε)."""
    c = _centred(x, axes)
    return c / _root(x.emit.mean(c * c, axes) + epsilon)


def _by_mean_square(x: Term, axes: Sequence[int], epsilon: float) -> Term:
    """x / √(mean(x²) + ε)."""
    return x / _root(x.emit.mean(x * x, axes) + epsilon)


def _last_axes(n: NodeView) -> list[int]:
    axis = int(n.attr("axis", -1))
    if axis >= 0 and n.x.rank is None:
        raise refusal(n, "an operand of unknown rank in")
    return list(range(axis, 0)) if axis < 0 else list(range(axis, n.x.rank or 0))


def _layer_normalization(n: NodeView, x: Term, scale: Term, bias: Term | None = None) -> Term:
    y = _standardised(x, _last_axes(n), n.attr("epsilon", EPSILON)) * scale
    return y if bias is None else y + bias


def _rms_normalization(n: NodeView, x: Term, scale: Term) -> Term:
    return _by_mean_square(x, _last_axes(n), n.attr("epsilon", EPSILON)) * scale


def _skip_layer(n: NodeView, x: Term, skip: Term, scale: Term, *biases: Term | None) -> list[Term | None]:
    """onnxruntime's fusion: the sum of the operands (and a bias) is normalised, and is the fourth result."""
    beta, bias = (*biases, None, None)[:2]
    total = x + skip if bias is None else x + skip + bias
    y = _standardised(total, [-1], n.attr("epsilon", SKIP_EPSILON)) * scale
    return [y if beta is None else y + beta, None, None, total]


def _skip_rms(n: NodeView, x: Term, skip: Term, scale: Term, bias: Term | None = None) -> list[Term | None]:
    total = x + skip if bias is None else x + skip + bias
    return [_by_mean_square(total, [-1], n.attr("epsilon", SKIP_EPSILON)) * scale, None, None, total]


def _group_normalization(n: NodeView, x: Term, scale: Term, bias: Term) -> Term:
    """Rows of one group (InstanceNormalization: one channel) of one item; scale and shift per channel."""
    groups = 0 if n.op_type == "InstanceNormalization" else int(n.attr("num_groups"))
    rows = x.emit.op("Reshape", x, x.emit.ints([0, groups, -1]), shape=(None, None, None))
    y = x.emit.reshape_like(_standardised(rows, [2], n.attr("epsilon", EPSILON)), n.x)
    return y * along_channels(n.x, scale) + along_channels(n.x, bias)


def _mean_variance(n: NodeView, x: Term) -> Term:
    """Its ε of 1e-9 is added to the deviation, not to the variance."""
    axes = list(n.attr("axes", (0, 2, 3)))
    c = _centred(x, axes)
    return c / (_root(x.emit.mean(c * c, axes)) + 1e-9)


def _local_response(n: NodeView, x: Term) -> Term:
    """x / (b + α/size Σ x²)^β over ``size`` neighbouring channels."""
    size = int(n.attr("size"))
    image = x.emit.op("Unsqueeze", x.emit.op("Reshape", x * x, x.emit.ints([0, 0, -1])), x.emit.ints([1]))
    window: dict[str, Any] = {"kernel_shape": [size, 1], "pads": [(size - 1) // 2, 0, size // 2, 0], "count_include_pad": 1}
    mean = x.emit.reshape_like(x.emit.op("AveragePool", image, **window), n.x)
    return x / (float(n.attr("bias", 1.0)) + float(n.attr("alpha", 1e-4)) * mean) ** float(n.attr("beta", 0.75))


def _unit(n: NodeView, x: Term) -> Term:
    """x / ‖x‖, 0 where the norm is."""
    return _over_norm(x, [n.attr("axis", -1)], euclidean=n.attr("p", 2) == 2)


def _over_norm(x: Term, axes: Sequence[int], euclidean: bool) -> Term:
    norm = _root(x.emit.sum(x * x, axes)) if euclidean else x.emit.sum(x.emit.op("Abs", x), axes)
    return x / x.emit.op("Max", norm, TINY)


# Reductions --------------------------------------------------------------------------------------------------------


def _reduced(op_type: str, n: NodeView, x: Term, axes: Term | None) -> Term:
    """The same reduction, of another kind, of another term."""
    kept = {k: n.attr(k) for k in ("keepdims", "noop_with_empty_axes")}
    return x.emit.op(op_type, x, axes, shape=n.y.shape, **kept)


def _l1(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _reduced("ReduceSum", n, x.emit.op("Abs", x), axes)


def _l2(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _root(_reduced("ReduceSum", n, x * x, axes))


def _sum_square(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _reduced("ReduceSum", n, x * x, axes)


def _log_sum(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return x.emit.op("Log", _reduced("ReduceSum", n, x, axes))


def _global_max(n: NodeView, x: Term) -> Term:
    rows = x.emit.op("Reshape", x, x.emit.ints([0, 0, -1]), shape=(None, None, None))
    return x.emit.reshape_like(x.emit.op("ReduceMax", rows, x.emit.ints([2]), keepdims=1, shape=(None, None, 1)), n.y)


def _power_norm(n: NodeView, x: Term, total: Callable[[Term], Term]) -> Term:
    """(Σ |x|^p)^(1/p)."""
    p = int(n.attr("p", 2))
    if p == 1:
        return total(x.emit.op("Abs", x))
    return _root(total(x * x)) if p == 2 else total(x.emit.op("Abs", x) ** float(p)) ** (1 / p)


def _global_lp_pool(n: NodeView, x: Term) -> Term:
    rows = x.emit.op("Reshape", x, x.emit.ints([0, 0, -1]), shape=(None, None, None))
    return x.emit.reshape_like(_power_norm(n, rows, lambda t: x.emit.sum(t, [2])), n.y)


def _lp_pool(n: NodeView, x: Term) -> Term:
    """Sums over windows: averages that count the padding, times the cells of a window."""
    if n.attr("ceil_mode", 0):
        raise refusal(n, "ceil_mode in")
    names = ("kernel_shape", "strides", "dilations", "pads", "auto_pad")
    window: dict[str, Any] = {k: n.attr(k) for k in names} | {"count_include_pad": 1}
    cells = float(np.prod(n.attr("kernel_shape")))
    return _power_norm(n, x, lambda t: x.emit.op("AveragePool", t, shape=n.y.shape, **window) * cells)


# Linear models and preprocessing of ai.onnx.ml, which give out float32 ------------------------------------------------


def _single(x: Term) -> Term:
    return x if x.dtype == ir.DataType.FLOAT else x.emit.cast(x, ir.DataType.FLOAT)


def _scaler(n: NodeView, x: Term) -> Term:
    return (_single(x) - _floats(n, "offset")) * _floats(n, "scale")


def _normalizer(n: NodeView, x: Term) -> Term:
    """x/Σ|x| or x/√Σx²; the signed maximum, by which onnxruntime also divides, has no rule."""
    if n.attr("norm", "MAX") == "MAX":
        raise refusal(n, "the norm MAX in")
    return _over_norm(_single(x), [-1], euclidean=n.attr("norm") == "L2")


def _linear_classifier(n: NodeView, x: Term) -> list[Term | None]:
    """The scores are result 1; of one row of coefficients (−s, s), or (1 − p, p)."""
    rows, transform = len(n.attr("intercepts")), n.attr("post_transform", "NONE")
    if transform not in ("NONE", "LOGISTIC", "SOFTMAX"):
        raise refusal(n, f"post_transform {transform} in")
    s = _single(x) @ _floats(n, "coefficients").reshape(rows, -1).T + _floats(n, "intercepts")
    if transform == "LOGISTIC":
        s = x.emit.op("Sigmoid", s, shape=s.shape)
    if rows == 1:
        return [None, x.emit.op("Concat", 1 - s if transform == "LOGISTIC" else -s, s, axis=1, shape=(None, 2))]
    return [None, x.emit.op("Softmax", s, axis=-1, shape=s.shape) if transform == "SOFTMAX" else s]


def _linear_regressor(n: NodeView, x: Term) -> Term:
    """With a single target onnxruntime leaves the post_transform out."""
    targets, transform = int(n.attr("targets", 1)), n.attr("post_transform", "NONE")
    if targets > 1 and transform != "NONE":
        raise refusal(n, f"post_transform {transform} in")
    y = _single(x) @ _floats(n, "coefficients").reshape(targets, -1).T
    return y + _floats(n, "intercepts") if n.attr("intercepts") else y


def _floats(n: NodeView, name: str) -> Array:
    return np.asarray(n.attr(name), np.float32)


@cache
def definitions() -> dict[tuple[str, str], Definition]:
    """(domain, operator) → its definition."""
    own: dict[str, Definition] = {
        "LayerNormalization": _layer_normalization,
        "RMSNormalization": _rms_normalization,
        "SimplifiedLayerNormalization": _rms_normalization,
        "GroupNormalization": _group_normalization,
        "InstanceNormalization": _group_normalization,
        "MeanVarianceNormalization": _mean_variance,
        "LRN": _local_response,
        "LpNormalization": _unit,
        "ReduceL1": _l1,
        "ReduceL2": _l2,
        "ReduceSumSquare": _sum_square,
        "ReduceLogSum": _log_sum,
        "GlobalMaxPool": _global_max,
        "GlobalLpPool": _global_lp_pool,
        "LpPool": _lp_pool,
    }
    fused: dict[str, Definition] = {
        "SkipLayerNormalization": _skip_layer,
        "SkipSimplifiedLayerNormalization": _skip_rms,
    }
    models: dict[str, Definition] = {
        "LinearClassifier": _linear_classifier,
        "LinearRegressor": _linear_regressor,
        "Normalizer": _normalizer,
        "Scaler": _scaler,
    }
    domains = {"": own, "com.microsoft": fused, "ai.onnx.ml": models}
    return {(domain, name): d for domain, table in domains.items() for name, d in table.items()}
