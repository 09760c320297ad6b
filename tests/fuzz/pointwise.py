"""Rows: pointwise operators, softmax, normalisations over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.sketch import MICROSOFT, MOST_ELEMENTS, Sketch, Unfit

Row = Callable[[Sketch], None]

_ANYWHERE = (
    "Abs Neg Sin Cos Atan Tanh Sigmoid Relu LeakyRelu Elu Celu Selu Softplus Softsign HardSigmoid HardSwish ThresholdedRelu "
    "Shrink Erf Asinh Identity Floor Ceil Round Sign Dropout Mish"
).split()
_INSIDE = {
    "Sinh": (-3.0, 3.0), "Cosh": (-3.0, 3.0), "Exp": (-4.0, 3.0), "Tan": (-1.2, 1.2), "Asin": (-0.95, 0.95),
    "Acos": (-0.95, 0.95), "Atanh": (-0.95, 0.95), "Acosh": (1.05, math.inf), "Log": (0.1, math.inf),
    "Sqrt": (0.05, math.inf), "Reciprocal": (0.2, math.inf),
}  # fmt: skip
_SLOPES: dict[str, dict[str, tuple[float, float]]] = {
    "LeakyRelu": {"alpha": (-0.5, 0.5)}, "Elu": {"alpha": (0.2, 2)}, "Celu": {"alpha": (0.2, 2)},
    "Selu": {"alpha": (0.5, 2), "gamma": (0.5, 2)}, "HardSigmoid": {"alpha": (0.1, 0.5), "beta": (0.3, 0.7)},
    "ThresholdedRelu": {"alpha": (-1, 1)}, "Shrink": {"lambd": (0.1, 1), "bias": (-0.5, 0.5)},
}  # fmt: skip
_SINCE = {"HardSwish": 14, "Mish": 18, "Gelu": 20}


def _unary(op_type: str) -> Row:
    def row(s: Sketch) -> None:
        needs(s, _SINCE.get(op_type, 13))
        x = s.within(s.pick(), *_INSIDE.get(op_type, ()))
        given = {k: round(float(s.rng().uniform(*v)), 3) for k, v in _SLOPES.get(op_type, {}).items() if s.flag()}
        s.node(op_type, [x], **given)

    return row


def needs(s: Sketch, opset: int, before: int = 99) -> None:
    """The operator is there from this opset on, and before that one."""
    if not opset <= s.opset < before:
        raise Unfit(f"opset {opset}")


def _gelu(s: Sketch) -> None:
    needs(s, 20)
    s.node("Gelu", [s.pick()], approximate=s.one(("none", "tanh", None)))


def _microsoft(s: Sketch) -> None:
    x = s.ranked(1)
    op_type = s.one(("Gelu", "QuickGelu", "BiasGelu", "FastGelu"))
    bias = [s.either(s.shape(x)[-1])] if op_type == "BiasGelu" or (op_type == "FastGelu" and s.flag()) else []
    s.node(op_type, [x, *bias], domain=MICROSOFT)


def partner(s: Sketch, name: str, low: float = -1.5, high: float = 1.5) -> str:
    """Another operand that broadcasts with this one: a live value, or a constant with any axes 1 or missing or new."""
    shape = s.shape(name)

    def fits(a: Any) -> bool:
        try:
            return math.prod(np.broadcast_shapes(a.shape, shape)) <= MOST_ELEMENTS // 2
        except ValueError:
            return False

    if s.flag():
        return s.within(s.pick(fits), low, high) if (low, high) != (-1.5, 1.5) else s.pick(fits)
    dims = [d if s.flag() else 1 for d in shape][s.integer(0, len(shape)) :]
    if len(dims) == len(shape) < 4 and s.flag():
        dims = [s.integer(1, 2), *dims]
    return s.numbers(*dims, low=low, high=high)


def _binary(op_type: str) -> Row:
    def row(s: Sketch) -> None:
        a = s.pick()
        b = partner(s, a, *((0.3, 2.0) if op_type == "Div" else ()))
        s.node(op_type, [a, b] if s.flag() or op_type == "Div" else [b, a])

    return row


def _pow(s: Sketch) -> None:
    if s.flag():
        base, exponent = s.pick(), s.constant(np.array(s.integer(0, 4), s.one((np.int64, np.int32, np.float32))))
    else:
        base = s.within(s.pick(), 0.2, 3.0)
        exponent = partner(s, base, -2.0, 2.0)
    s.node("Pow", [base, exponent])


def _mod(s: Sketch) -> None:
    a = s.pick()
    s.node("Mod", [a, partner(s, a, 0.4, 1.5)], fmod=1)


def _variadic(op_type: str) -> Row:
    def row(s: Sketch) -> None:
        operands = [s.pick()]
        for _ in range(s.integer(0, 3)):
            operands.append(partner(s, operands[0]))
        s.node(op_type, operands)

    return row


def _prelu(s: Sketch) -> None:
    x = s.ranked(1)
    dims = [d if s.flag() else 1 for d in s.shape(x)][s.integer(0, len(s.shape(x)) - 1) :]
    s.node("PRelu", [x, s.either(*dims, low=-0.5, high=0.5)])


def _clip(s: Sketch) -> None:
    low = s.one(("", s.scalar(-0.7), s.shaped()))
    s.node("Clip", [s.pick(), low, s.one(("", s.scalar(0.8)))])


def _where(s: Sketch) -> None:
    a = s.pick()
    b = partner(s, a)
    shape = np.broadcast_shapes(s.shape(a), s.shape(b))
    if s.flag():
        condition = s.constant(s.rng().integers(0, 2, [d if s.flag() else 1 for d in shape]).astype(bool))
    else:
        condition = s.node(s.one(("Greater", "LessOrEqual")), [a, partner(s, a)])[0]
    s.node("Where", [condition, a, b])


def _comparison(s: Sketch) -> None:
    """0 or 1 by a comparison, times a value: half of the path has no gradient."""
    a = s.pick()
    answer = s.node(s.one(("Greater", "Less", "GreaterOrEqual", "Equal")), [a, partner(s, a)])[0]
    if s.flag():
        answer = s.node("Not", [answer])[0]
    s.node("Mul", [s.node("Cast", [answer], to=1)[0], a])


def _double(s: Sketch) -> None:
    """In float64 for a moment."""
    wide = s.node("Cast", [s.pick()], to=11)[0]
    for _ in range(s.integer(0, 2)):
        wide = s.node(s.one(("Tanh", "Neg", "Sigmoid", "Abs")), [wide])[0]
    if s.flag():
        s.node("CastLike" if s.opset >= 15 else "Cast", [wide, s.pick()] if s.opset >= 15 else [wide],
               to=None if s.opset >= 15 else 1)  # fmt: skip
    else:
        s.node("Cast", [wide], to=1)


def _integers(s: Sketch) -> None:
    """Through int32, where no gradient goes, and back into a product."""
    x = s.pick()
    whole = s.node("Cast", [x], to=s.one((6, 7)))[0]
    s.node(s.one(("Mul", "Add")), [s.node("Cast", [whole], to=1)[0], x])


def _softmax(s: Sketch) -> None:
    x = s.ranked(1)
    rank = len(s.shape(x))
    s.node(s.one(("Softmax", "LogSoftmax", "Softmax", "Hardmax")), [x], axis=s.one((None, s.integer(-rank, rank - 1))))


def _cumsum(s: Sketch) -> None:
    x = s.ranked(1)
    rank = len(s.shape(x))
    axis = s.constant(np.array(s.integer(-rank, rank - 1), s.one((np.int64, np.int32))))
    s.node("CumSum", [x, axis], exclusive=s.integer(0, 1), reverse=s.integer(0, 1))


POINTWISE: dict[str, Row] = {op: _unary(op) for op in (*_ANYWHERE, *_INSIDE)}
POINTWISE |= {op: _binary(op) for op in ("Add", "Sub", "Mul", "Div")}
POINTWISE |= {op: _variadic(op) for op in ("Min", "Max", "Sum", "Mean")}
POINTWISE |= {
    "Gelu": _gelu, "com.microsoft Gelu": _microsoft, "Pow": _pow, "Mod": _mod, "PRelu": _prelu, "Clip": _clip, "Where": _where,
    "comparison": _comparison, "double": _double, "integers": _integers, "Softmax": _softmax, "CumSum": _cumsum,
}  # fmt: skip
