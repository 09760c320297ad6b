"""Normalisations: x̂ = (x − mean) / √(var + ε), scaled and shifted.

With c the gradient of x̂, the gradient of x is (c − mean(c) − x̂ mean(c x̂)) / √(var + ε), the means taken over the
normalised axes (Ioffe & Szegedy 2015, section 3, in one line). x̂ is computed again from x: getting it back from y would
divide by the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp
from explainsvc.autograd.shapes import Dim
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.pointwise import apply
from explainsvc.errors import NotDifferentiable

EPSILON = 1e-5
"""ONNX' default of every normalisation."""


@dataclass(frozen=True)
class Standardised:
    """x̂, 1/√(var + ε), and the axes (kept as ones in ``inverse``). ``centred``: False for a root mean square."""

    value: Term
    inverse: Term
    axes: Sequence[int]
    centred: bool = True

    def back(self, c: Term) -> Term:
        """The gradient of x from the gradient ``c`` of x̂."""
        across = c - self.value * c.emit.mean(c * self.value, self.axes)
        if self.centred:
            across = across - c.emit.mean(c, self.axes)
        return self.inverse * across


def standardised(x: Term, axes: Sequence[int], epsilon: float) -> Standardised:
    """``x`` with mean 0 and variance 1 over ``axes``."""
    centred = x - x.emit.mean(x, axes)
    inverse = inverse_root(x.emit.mean(centred * centred, axes), epsilon)
    return Standardised(centred * inverse, inverse, axes)


def inverse_root(variance: Term, epsilon: float) -> Term:
    """1/√(variance + ε)."""
    return apply("Reciprocal", apply("Sqrt", variance + epsilon))


def along_channels(x: Term, vector: Term) -> Term:
    """A vector with one element per channel (axis 1), shaped to broadcast against ``x``."""
    if x.rank is not None:
        return vector if x.rank < 2 else x.emit.reshape(vector, [-1] + [1] * (x.rank - 2))
    i64 = ir.DataType.INT64
    spatial = x.emit.op("Shape", x, dtype=i64, start=2)
    rank = x.emit.op("Shape", spatial, dtype=i64, shape=(1,))
    ones = x.emit.op("ConstantOfShape", rank, dtype=i64, value=ir.tensor(np.ones(1, np.int64)))
    return x.emit.op("Reshape", vector, x.emit.op("Concat", x.emit.ints([-1]), ones, dtype=i64, axis=0))


def per_channel(x: Term, term: Term) -> Term:
    """The sum of ``term`` over everything but the channels of ``x``: a vector."""
    if x.rank == 1:
        return x.emit.sum(term, [0])
    rows = x.emit.op("Reshape", term, x.emit.ints([0, 0, -1]), shape=_rows(x))
    return x.emit.sum(rows, [0, 2], keepdims=False)


def _rows(x: Term) -> tuple[Dim, ...]:
    """Batch, channels, the rest."""
    return (None, None, None) if x.shape is None else (*x.shape[:2], None)


# BatchNormalization: the statistics are operands --------------------------------------------------------------------


def _batch(n: NodeView) -> tuple[Term, Term]:
    """x̂ and 1/√(var + ε), the latter a vector."""
    if n.attr("training_mode", 0):
        raise NotDifferentiable(
            "BatchNormalization in training mode takes its statistics from the batch: items depend on each other",
            where=n.where(),
            expected="training_mode = 0",
            to_do="Export the model in evaluation mode",
        )
    inverse = inverse_root(n.input(4), n.attr("epsilon", EPSILON))
    return (n.x - along_channels(n.x, n.input(3))) * along_channels(n.x, inverse), inverse


@vjp("BatchNormalization")
def _batch_x(n: NodeView, g: Term, *_statistics: Term | None) -> Term:
    inverse = _batch(n)[1]
    return g * along_channels(n.x, n.input(1) * inverse)


@vjp("BatchNormalization", 1)
def _batch_scale(n: NodeView, g: Term, *_statistics: Term | None) -> Term:
    value = _batch(n)[0]
    return per_channel(n.x, g * value)


@vjp("BatchNormalization", 2)
def _batch_bias(n: NodeView, g: Term, *_statistics: Term | None) -> Term:
    return per_channel(n.x, g)


@vjp("BatchNormalization", 3)
def _batch_mean(n: NodeView, g: Term, *_statistics: Term | None) -> Term:
    inverse = _batch(n)[1]
    return -(per_channel(n.x, g) * n.input(1) * inverse)


@vjp("BatchNormalization", 4)
def _batch_variance(n: NodeView, g: Term, *_statistics: Term | None) -> Term:
    """∂x̂/∂var = −x̂ / 2(var + ε)."""
    value, inverse = _batch(n)
    return per_channel(n.x, g * value) * (-0.5 * (n.input(1) * inverse * inverse))


# InstanceNormalization, GroupNormalization: over rows of one item ---------------------------------------------------


def _grouped(n: NodeView, term: Term, groups: int) -> Term:
    """One row per group: [batch, groups, elements]; ``groups`` = 0 for one group per channel."""
    shape = _rows(term)
    return n.emit.op("Reshape", term, n.emit.ints([0, groups, -1]), shape=(shape[0], groups or shape[1], None))


def _group(n: NodeView, groups: int) -> Standardised:
    return standardised(_grouped(n, n.x, groups), [2], n.attr("epsilon", EPSILON))


def _groups(n: NodeView) -> int:
    return 0 if n.op_type == "InstanceNormalization" else int(n.attr("num_groups"))


def _group_x(n: NodeView, g: Term) -> Term:
    groups = _groups(n)
    scaled = _grouped(n, g * along_channels(n.x, n.input(1)), groups)
    return n.emit.reshape_like(_group(n, groups).back(scaled), n.x)


def _group_scale(n: NodeView, g: Term) -> Term:
    value = n.emit.reshape_like(_group(n, _groups(n)).value, n.x)
    return per_channel(n.x, g * value)


for _op in ("InstanceNormalization", "GroupNormalization"):
    define(_op, _group_x, _group_scale, _batch_bias)


# LRN: over a window of neighbouring channels ------------------------------------------------------------------------


def _window_mean(n: NodeView, term: Term, *, turned: bool = False) -> Term:
    """The sum over ``size`` neighbouring channels divided by ``size``; ``turned``: the transposed window."""
    size = int(n.attr("size"))
    before, after = (size - 1) // 2, size // 2
    if turned:
        before, after = after, before
    image = n.emit.op("Unsqueeze", n.emit.op("Reshape", term, n.emit.ints([0, 0, -1])), n.emit.ints([1]))
    window: dict[str, Any] = {"kernel_shape": [size, 1], "pads": [before, 0, after, 0], "count_include_pad": 1}
    return n.emit.reshape_like(n.emit.op("AveragePool", image, **window), n.x)


@vjp("LRN")
def _lrn(n: NodeView, g: Term) -> Term:
    """∂/∂x of y = x d^−β, d = b + α/size Σ x², is g d^−β − 2αβ/size x Σ g y / d, this sum over the turned window."""
    alpha, beta = float(n.attr("alpha", 1e-4)), float(n.attr("beta", 0.75))
    d = float(n.attr("bias", 1.0)) + alpha * _window_mean(n, n.x * n.x)
    return g * d**-beta - (2 * alpha * beta) * (n.x * _window_mean(n, g * n.y / d, turned=True))


# Without parameters -------------------------------------------------------------------------------------------------


@vjp("LpNormalization")
def _lp(n: NodeView, g: Term) -> Term:
    """∂/∂x of y = x/‖x‖ is (g − s Σ g y)/‖x‖ with s = y for p = 2 and sign(x) for p = 1; 0 where the norm is 0."""
    axes = [n.attr("axis", -1)]
    euclidean = n.attr("p", 2) == 2
    share = n.emit.sum(g * n.y, axes)
    norm = n.emit.op("ReduceL2" if euclidean else "ReduceL1", n.x, n.emit.ints(axes), shape=share.shape, keepdims=1)
    zero = norm.equals(0.0)
    tangent = g - (n.y if euclidean else apply("Sign", n.x)) * share
    return n.emit.where(zero, 0.0, tangent) / n.emit.where(zero, 1.0, norm)


@vjp("MeanVarianceNormalization")
def _mean_variance(n: NodeView, g: Term) -> Term:
    """Its ε of 1e-9 is added to the deviation, not to the variance."""
    axes = list(n.attr("axes", (0, 2, 3)))
    centred = n.x - n.emit.mean(n.x, axes)
    deviation = apply("Sqrt", n.emit.mean(centred * centred, axes)) + 1e-9
    return Standardised(n.y, apply("Reciprocal", deviation), axes).back(g)
