"""Activation functions: ∂L/∂x = g ⊙ f'(x). At corners the derivative is that of torch: 0 for ReLU at 0."""

from __future__ import annotations

from math import pi, sqrt

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.pointwise import apply, to_operand

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""Defaults of ONNX' Selu; Klambauer et al. 2017, eq. 14."""
_CUBIC = 0.044715
"""Hendrycks & Gimpel 2016, section 2: gelu ≈ x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))."""


def _positive(n: NodeView, g: Term, otherwise: Term) -> Term:
    """``g`` where x > 0."""
    return n.emit.where(n.x > 0, g, otherwise)


# by its result: onnxruntime fuses Conv and Relu only where nothing else reads what is between them
define("Relu", lambda n, g: g * n.emit.step(n.y))
define("LeakyRelu", lambda n, g: _positive(n, g, g * n.attr("alpha", 0.01)))
define("Elu", lambda n, g: _positive(n, g, g * (n.y + n.attr("alpha", 1.0))))
define("Celu", lambda n, g: _positive(n, g, g * (n.y / n.attr("alpha", 1.0) + 1)))
define("ThresholdedRelu", lambda n, g: n.emit.where(n.x > n.attr("alpha", 1.0), g, 0.0))
define("Shrink", lambda n, g: n.emit.where(apply("Abs", n.x) > n.attr("lambd", 0.5), g, 0.0))
define("Sigmoid", lambda n, g: g * (n.y * (1 - n.y)))
define("Tanh", lambda n, g: g * (1 - n.y * n.y))
define("Softplus", lambda n, g: g * apply("Sigmoid", n.x))


@vjp("Selu")
def _selu(n: NodeView, g: Term) -> Term:
    alpha, gamma = n.attr("alpha", _SELU_ALPHA), n.attr("gamma", _SELU_GAMMA)
    return _positive(n, g * gamma, g * (n.y + alpha * gamma))


@vjp("PRelu")
def _prelu(n: NodeView, g: Term) -> Term:
    return _positive(n, g, g * n.input(1))


@vjp("PRelu", 1)
def _prelu_slope(n: NodeView, g: Term) -> Term:
    return to_operand(n, 1, n.emit.where(n.x > 0, 0.0, g * n.x))


@vjp("HardSigmoid")
def _hard_sigmoid(n: NodeView, g: Term) -> Term:
    inside = n.emit.op("And", n.y > 0, n.y < 1, dtype=ir.DataType.BOOL)
    return n.emit.where(inside, g * n.attr("alpha", 0.2), 0.0)


@vjp("HardSwish")
def _hard_swish(n: NodeView, g: Term) -> Term:
    """∂/∂x of x · clip(x/6 + 1/2, 0, 1) is x/3 + 1/2 on (−3, 3)."""
    middle = n.emit.where(n.x > -3, g * (n.x / 3 + 0.5), 0.0)
    return n.emit.where(n.x >= 3, g, middle)


@vjp("Softsign")
def _softsign(n: NodeView, g: Term) -> Term:
    scale = 1 + apply("Abs", n.x)
    return g / (scale * scale)


def _swish(n: NodeView, g: Term, alpha: float) -> Term:
    """∂/∂x of x σ(αx) is s + αy(1 − s), s = σ(αx)."""
    s = apply("Sigmoid", n.x * alpha)
    return g * (s + n.y * (1 - s) * alpha)


define("Swish", lambda n, g: _swish(n, g, n.attr("alpha", 1.0)))
define("QuickGelu", lambda n, g: _swish(n, g, n.attr("alpha", 1.702)), domain="com.microsoft")


@vjp("Mish")
def _mish(n: NodeView, g: Term) -> Term:
    """∂/∂x of x tanh(softplus(x)) is t + x (1 − t²) σ(x)."""
    t = apply("Tanh", apply("Softplus", n.x))
    return g * (t + n.x * (1 - t * t) * apply("Sigmoid", n.x))


def _gelu(x: Term, g: Term) -> Term:
    """∂/∂x of x Φ(x) is Φ + x φ."""
    cdf = 0.5 * (1 + apply("Erf", x * sqrt(0.5)))
    pdf = apply("Exp", x * x * -0.5) * (1 / sqrt(2 * pi))
    return g * (cdf + x * pdf)


def _gelu_tanh(x: Term, g: Term) -> Term:
    """∂/∂x of x/2 (1 + t), t = tanh(u), is (1 + t)/2 + x/2 (1 − t²) u'."""
    square = x * x
    t = apply("Tanh", sqrt(2 / pi) * (x * (1 + _CUBIC * square)))
    slope = sqrt(2 / pi) * (1 + 3 * _CUBIC * square)
    return g * (0.5 * (1 + t) + 0.5 * (x * (1 - t * t) * slope))


@vjp("Gelu")
def _gelu_either(n: NodeView, g: Term) -> Term:
    return (_gelu_tanh if n.attr("approximate", "none") == "tanh" else _gelu)(n.x, g)


define("Gelu", lambda n, g: _gelu(n.x, g), domain="com.microsoft")


def _biased(n: NodeView) -> Term:
    """The operand of the fused operators: x + bias."""
    return n.x + n.input(1) if n.has(1) else n.x


@vjp("BiasGelu", 0, domain="com.microsoft")
def _bias_gelu(n: NodeView, g: Term) -> Term:
    return _gelu(_biased(n), g)


@vjp("BiasGelu", 1, domain="com.microsoft")
def _bias_gelu_bias(n: NodeView, g: Term) -> Term:
    return to_operand(n, 1, _gelu(_biased(n), g))


@vjp("FastGelu", 0, domain="com.microsoft")
def _fast_gelu(n: NodeView, g: Term) -> Term:
    return _gelu_tanh(_biased(n), g)


@vjp("FastGelu", 1, domain="com.microsoft")
def _fast_gelu_bias(n: NodeView, g: Term) -> Term:
    return to_operand(n, 1, _gelu_tanh(_biased(n), g))
