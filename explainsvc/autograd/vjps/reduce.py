"""Reductions over axes, and cumulative sums and products along one.

``axes`` may be a constant, absent, or computed at run time: a rule never reads it, it brings the gradient to the shape
with kept axes (``Unsqueeze`` by the same ``axes``) and lets broadcasting do the rest. With ``noop_with_empty_axes``
onnxruntime still applies the function to each element; so do the rules. Equal extrema share the gradient evenly
(torch.amax).
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp
from explainsvc.autograd.shapes import Shape
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.pointwise import apply


def kept(n: NodeView, term: Term) -> Term:
    """A term of the result's shape, the reduced axes put back as ones (or a scalar, where all were reduced)."""
    axes = n.const(1)
    if n.attr("keepdims", 1) or not n.has(1) or (axes is not None and axes.size == 0):
        return term
    return n.emit.op("Unsqueeze", term, n.input(1), shape=_kept_shape(n))


def _kept_shape(n: NodeView) -> Shape | None:
    """The operand's shape with ones on the reduced axes, where both are known."""
    axes, shape = n.const(1), n.x.shape
    if axes is None or shape is None:
        return None
    if axes.size == 0 and n.attr("noop_with_empty_axes", 0):
        return shape
    chosen = {int(a) % len(shape) for a in axes.ravel()} if axes.size else set(range(len(shape)))
    return tuple(1 if i in chosen else d for i, d in enumerate(shape))


def again(n: NodeView, op_type: str, term: Term) -> Term:
    """Another reduction of another term over the same axes, these kept."""
    axes = n.input(1) if n.has(1) else None
    shape = _kept_shape(n) if n.has(1) else None
    return n.emit.op(op_type, term, axes, shape=shape, keepdims=1, noop_with_empty_axes=n.attr("noop_with_empty_axes", 0))


def count(x: Term, y: Term) -> Term | float:
    """How many elements of ``x`` make one of its reduction ``y``."""
    sizes = _static_size(x.shape), _static_size(y.shape)
    if sizes[0] is not None and sizes[1]:
        return sizes[0] / sizes[1]
    return _size(x) / _size(y)


def _static_size(shape: Shape | None) -> int | None:
    static = [d for d in shape or () if isinstance(d, int)]
    return None if shape is None or len(static) < len(shape) else prod(static)


def _size(term: Term) -> Term:
    """The number of elements, as a float."""
    size = term.emit.op("Size", term, dtype=ir.DataType.INT64, shape=())
    return term.emit.cast(size, term.dtype or term.emit.float_type)


def _to_x(n: NodeView, g: Term) -> Term:
    """``g`` repeated along the reduced axes."""
    return n.emit.expand_like(kept(n, g), n.x)


define("ReduceSum", _to_x)
define("ReduceMean", lambda n, g: _to_x(n, g / count(n.x, n.y)))
define("ReduceL1", lambda n, g: kept(n, g) * apply("Sign", n.x))
define("ReduceSumSquare", lambda n, g: kept(n, g * 2) * n.x)
define("ReduceLogSum", lambda n, g: _to_x(n, g * apply("Exp", -n.y)))
define("ReduceLogSumExp", lambda n, g: kept(n, g) * apply("Exp", n.x - kept(n, n.y)))


@vjp("ReduceL2")
def _l2(n: NodeView, g: Term) -> Term:
    """x/‖x‖, and 0 at the origin, as torch."""
    zero = n.y.equals(0.0)
    direction = n.emit.where(zero, 0.0, g) / n.emit.where(zero, 1.0, n.y)
    return kept(n, direction) * n.x


@vjp("ReduceMax")
def _max(n: NodeView, g: Term) -> Term:
    chosen = n.emit.mask(n.x.equals(kept(n, n.y)), n.x)
    return kept(n, g) * (chosen / again(n, "ReduceSum", chosen))


define("ReduceMin", _max)


@vjp("ReduceProd")
def _prod(n: NodeView, g: Term) -> Term:
    """The product of the others, without dividing by zero.

    With p the product of the nonzero elements, it is p/x where nothing is zero, p at the only zero, else 0.
    """
    is_zero = n.x.equals(0.0)
    zeros = n.emit.mask(is_zero, n.x)
    safe = n.emit.where(is_zero, 1.0, n.x)
    only = n.emit.mask(zeros.equals(again(n, "ReduceSum", zeros)), n.x)
    return kept(n, g) * (again(n, "ReduceProd", safe) / safe * only)


def _cumulative(n: NodeView, term: Term, op_type: str = "CumSum", *, turned: bool = False) -> Term:
    """The same walk along the axis over another term; ``turned``: from the other end."""
    flags = {"exclusive": n.attr("exclusive", 0), "reverse": n.attr("reverse", 0) ^ int(turned)}
    return n.emit.op(op_type, term, n.input(1), dtype=term.dtype, shape=n.x.shape, **flags)


define("CumSum", lambda n, g: _cumulative(n, g, turned=True))


@vjp("CumProd")
def _cumprod(n: NodeView, g: Term) -> Term:
    """Σ g y over the results that contain an element, divided by it; at a zero, without the division.

    A result depends on a zero only where that is its only one; there its derivative is q, the product without zeros.
    """
    is_zero = n.x.equals(0.0)
    safe = n.emit.where(is_zero, 1.0, n.x)
    zeros = _cumulative(n, n.emit.mask(is_zero, n.x))
    q = _cumulative(n, safe, "CumProd")
    at_zero = _cumulative(n, n.emit.where(zeros.equals(1.0), g * q, 0.0), turned=True)
    first = (zeros + n.emit.mask(is_zero, n.x)).equals(1.0) if n.attr("exclusive", 0) else zeros.equals(1.0)
    at_zero = n.emit.where(first, at_zero, 0.0)
    return n.emit.where(is_zero, at_zero, _cumulative(n, g * n.y, turned=True) / safe)
