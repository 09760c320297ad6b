"""Einsum equations: parsing, and the equation of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.shapes import Dim, Shape, broadcast
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.windows import INT64
from explainsvc.errors import NotDifferentiable

ELLIPSIS = "..."


@dataclass(frozen=True)
class Equation:
    """One string of letters per operand and one for the result; every letter is an axis, ellipses are spelt out."""

    operands: tuple[str, ...]
    result: str

    def unused(self) -> list[str]:
        """Letters that may name new axes."""
        return [c for c in ascii_letters if c not in "".join(self.operands) + self.result]


def equation_of(n: NodeView) -> Equation:
    """The equation of an Einsum node, implicit result and ellipses made explicit.

    Raises:
        NotDifferentiable: An ellipsis stands for an unknown number of axes.
    """
    text = n.attr("equation")
    return spelt_out(text, [_hidden_axes(n, i, t) for i, t in enumerate(terms_of(text))])


def terms_of(equation: str) -> list[str]:
    """The subscripts of the operands, as they are written."""
    return equation.replace(" ", "").partition("->")[0].split(",")


def spelt_out(equation: str, hidden: Sequence[int]) -> Equation:
    """Implicit result and ellipses made explicit; ``hidden``: how many axes the ellipsis of each operand stands for."""
    terms = terms_of(equation)
    left, arrow, right = equation.replace(" ", "").partition("->")
    named = left.replace(ELLIPSIS, "").replace(",", "")
    if not arrow:
        right = (ELLIPSIS if ELLIPSIS in left else "") + "".join(sorted(c for c in named if named.count(c) == 1))
    free = [c for c in ascii_letters if c not in named + right]
    letters = "".join(free[: max(hidden)])
    spelt = [t.replace(ELLIPSIS, letters[len(letters) - k :]) for t, k in zip(terms, hidden, strict=True)]
    return Equation(tuple(spelt), right.replace(ELLIPSIS, letters))


def _hidden_axes(n: NodeView, operand: int, term: str) -> int:
    """How many axes the ellipsis of one operand stands for."""
    if ELLIPSIS not in term:
        return 0
    rank = n.input(operand).rank
    if rank is None:
        raise NotDifferentiable(
            f'the ellipsis in "{n.attr("equation")}" stands for an unknown number of axes',
            where=n.where(),
            expected=f"an operand {operand} of known rank",
            to_do="Export the model with shapes, or run onnx.shape_inference on it",
        )
    return rank - len(term.replace(ELLIPSIS, ""))


def einsum_gradient(n: NodeView, operand: int, g: Term) -> Term:
    """∂⟨g, einsum(x…)⟩/∂x_i = einsum of ``g`` and the other operands, with the subscripts of x_i as result.

    An axis that x_i alone has was summed: its gradient is repeated (× ones). A letter that x_i has twice took a
    diagonal: its gradient lies on that diagonal (× identity). Axes of size 1 that were broadcast are summed.
    """
    equation = equation_of(n)
    x, subscripts = n.input(operand), equation.operands[operand]
    others = [(s, n.input(i)) for i, s in enumerate(equation.operands) if i != operand]
    factors = [(equation.result, g), *others]
    factors += [(c, _ones(x, subscripts.index(c))) for c in dict.fromkeys(subscripts) if not _spans(c, factors)]
    target, diagonals = _without_repetition(subscripts, equation.unused())
    factors += [(pair, _identity(x, axis)) for axis, pair in diagonals]
    text = ",".join(s for s, _ in factors) + "->" + target
    product = n.emit.op("Einsum", *(t for _, t in factors), equation=text, shape=_result_shape(factors, target))
    return n.emit.sum_to(product, x).like(x)


def _spans(letter: str, factors: Sequence[tuple[str, Term]]) -> bool:
    """Whether some factor has the axis ``letter``, not merely with size 1."""
    return any(letter in s and (t.shape is None or t.shape[s.index(letter)] != 1) for s, t in factors)


def _without_repetition(subscripts: str, unused: list[str]) -> tuple[str, list[tuple[int, str]]]:
    """``ibi`` → ``ibj`` and [(2, "ij")]: the pairs of letters that are equal on a diagonal, with an axis each."""
    target, pairs = "", []
    for axis, letter in enumerate(subscripts):
        new = unused.pop(0) if letter in target else letter
        pairs += [(axis, letter + new)] if new != letter else []
        target += new
    return target, pairs


def _ones(x: Term, axis: int) -> Term:
    """A vector of ones as long as axis ``axis`` of ``x``."""
    dtype = (x.dtype or x.emit.float_type).numpy()
    size = _size(x, axis)
    if isinstance(size, int):
        return x.emit.constant(np.ones(size, dtype))
    return x.emit.op("ConstantOfShape", _length(x, axis), dtype=x.dtype, shape=(size,), value=_tensor_one(dtype))


def _identity(x: Term, axis: int) -> Term:
    """The identity matrix as large as axis ``axis`` of ``x``."""
    dtype = (x.dtype or x.emit.float_type).numpy()
    size = _size(x, axis)
    if isinstance(size, int):
        return x.emit.constant(np.eye(size, dtype=dtype))
    zero, one = x.emit.constant(0, np.int64), x.emit.constant(1, np.int64)
    index = x.emit.op("Range", zero, x.emit.op("Squeeze", _length(x, axis)), one)
    column = x.emit.op("Unsqueeze", index, x.emit.ints([1]))
    return x.emit.mask(column.equals(index), x)


def _length(x: Term, axis: int) -> Term:
    return x.emit.op("Shape", x, dtype=INT64, shape=(1,), start=axis, end=axis + 1)


def _tensor_one(dtype: np.dtype) -> ir.TensorProtocol:
    return ir.tensor(np.ones(1, dtype))


def _size(x: Term, axis: int) -> Dim:
    return None if x.shape is None else x.shape[axis]


def _result_shape(factors: Sequence[tuple[str, Term]], target: str) -> Shape | None:
    if any(t.shape is None for _, t in factors):
        return None
    sizes = [[(t.shape[s.index(c)],) for s, t in factors if c in s and t.shape is not None] for c in target]
    return tuple((broadcast(column) or (None,))[0] for column in sizes)
