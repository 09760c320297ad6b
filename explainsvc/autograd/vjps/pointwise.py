"""Pointwise arithmetic: ∂L/∂x = g ⊙ f'(x), summed over the axes along which an operand was broadcast.

Where a function has a corner, the derivative is the one that torch gives: Min and Max share the gradient evenly among
equal operands, Clip passes nothing at its bounds (as ReLU6, which exporters write so) but to the bounds, Abs has zero at
zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import pi, sqrt

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp, vjp_each
from explainsvc.autograd.view import NodeView


def to_operand(n: NodeView, i: int, g: Term) -> Term:
    """``g`` summed to the shape of operand ``i``, which broadcasting may have stretched."""
    return n.emit.sum_to(g, n.input(i))


def apply(op_type: str, x: Term) -> Term:
    """A function of one operand, element by element."""
    return x.emit.op(op_type, x, shape=x.shape)


def total_of(terms: Iterable[Term | None]) -> Term | None:
    """The sum of those that are there."""
    parts = [t for t in terms if t is not None]
    return sum(parts[1:], start=parts[0]) if parts else None


define("Add", lambda n, g: to_operand(n, 0, g), lambda n, g: to_operand(n, 1, g))
define("Sub", lambda n, g: to_operand(n, 0, g), lambda n, g: to_operand(n, 1, -g))
define("Mul", lambda n, g: to_operand(n, 0, g * n.input(1)), lambda n, g: to_operand(n, 1, g * n.x))
define("Div", lambda n, g: to_operand(n, 0, g / n.input(1)), lambda n, g: to_operand(n, 1, -(g * n.y / n.input(1))))
define("Neg", lambda _, g: -g)
define("Abs", lambda n, g: g * apply("Sign", n.x))
define("Reciprocal", lambda n, g: -(g * n.y * n.y))
define("Sqrt", lambda n, g: g * 0.5 / n.y)
define("Exp", lambda n, g: g * n.y)
define("Log", lambda n, g: g / n.x)
define("Erf", lambda n, g: g * (2 / sqrt(pi)) * apply("Exp", -(n.x * n.x)))

define("Sin", lambda n, g: g * apply("Cos", n.x))
define("Cos", lambda n, g: -(g * apply("Sin", n.x)))
define("Tan", lambda n, g: g * (1 + n.y * n.y))
define("Asin", lambda n, g: g / apply("Sqrt", 1 - n.x * n.x))
define("Acos", lambda n, g: -(g / apply("Sqrt", 1 - n.x * n.x)))
define("Atan", lambda n, g: g / (1 + n.x * n.x))
define("Sinh", lambda n, g: g * apply("Cosh", n.x))
define("Cosh", lambda n, g: g * apply("Sinh", n.x))
define("Asinh", lambda n, g: g / apply("Sqrt", n.x * n.x + 1))
define("Acosh", lambda n, g: g / apply("Sqrt", n.x * n.x - 1))
define("Atanh", lambda n, g: g / (1 - n.x * n.x))


@vjp("Pow")
def _pow_base(n: NodeView, g: Term) -> Term:
    """∂/∂x = p x^(p−1); the exponent is kept at 1 where p = 0, so that 0⁰ has the derivative 0 and not 0 · ∞."""
    p = _exponent(n)
    lowered = n.emit.where(p.equals(0.0), 1.0, p - 1)
    return to_operand(n, 0, g * (p * n.x**lowered))


@vjp("Pow", 1)
def _pow_exponent(n: NodeView, g: Term) -> Term:
    """∂/∂p = x^p ln x, and 0 where x = 0."""
    x = n.emit.where(n.x.equals(0.0), 1.0, n.x)
    return to_operand(n, 1, g * (n.y * apply("Log", x)))


def _exponent(n: NodeView) -> Term:
    """The exponent in the type of the base: ONNX allows an integer there."""
    base, p = n.x.dtype or n.emit.float_type, n.input(1)
    return p if p.dtype == base else n.emit.cast(p, base)


@vjp("Mod")
def _mod(n: NodeView, g: Term) -> Term:
    return to_operand(n, 0, g)


@vjp("Mod", 1)
def _mod_divisor(n: NodeView, g: Term) -> Term:
    """∂/∂b of x − b k, k an integer."""
    k = apply("Round", (n.x - n.y) / n.input(1))
    return to_operand(n, 1, -(g * k))


@vjp_each("Sum")
def _sum(n: NodeView, i: int, g: Term) -> Term:
    return to_operand(n, i, g)


@vjp_each("Mean")
def _mean(n: NodeView, i: int, g: Term) -> Term:
    return to_operand(n, i, g / len(n.node.inputs))


@vjp_each("Max")
@vjp_each("Min")
def _extremum(n: NodeView, i: int, g: Term) -> Term:
    """The gradient goes to the operand that is the result, in equal parts where several are."""
    if len(n.node.inputs) == 1:
        return g
    chosen = [n.emit.mask(x.equals(n.y), n.y) for x in n.inputs if x is not None]
    count = sum(chosen[1:], start=chosen[0])
    return to_operand(n, i, g * chosen[i] / count)


@vjp("Where", 1)
def _where_true(n: NodeView, g: Term) -> Term:
    return to_operand(n, 1, n.emit.where(n.x, g, 0.0))


@vjp("Where", 2)
def _where_false(n: NodeView, g: Term) -> Term:
    return to_operand(n, 2, n.emit.where(n.x, 0.0, g))


@vjp("Clip")
def _clip(n: NodeView, g: Term) -> Term:
    inside = [n.x > n.input(1)] if n.has(1) else []
    inside += [n.x < n.input(2)] if n.has(2) else []
    for condition in inside:
        g = n.emit.where(condition, g, 0.0)
    return g


@vjp("Clip", 1)
def _clip_low(n: NodeView, g: Term) -> Term:
    """The lower bound is the result up to it, unless the upper one, which comes last, is no higher."""
    low = n.input(1)
    if n.has(2):
        g = n.emit.where(low < n.input(2), g, 0.0)
    return to_operand(n, 1, n.emit.where(n.x <= low, g, 0.0))


@vjp("Clip", 2)
def _clip_high(n: NodeView, g: Term) -> Term:
    high = n.input(2)
    above = n.x >= high
    if n.has(1):
        above = n.emit.op("Or", above, n.input(1) >= high, dtype=ir.DataType.BOOL)
    return to_operand(n, 2, n.emit.where(above, g, 0.0))
