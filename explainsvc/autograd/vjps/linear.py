"""Gemm, MatMul, Einsum: linear in every operand."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp, vjp_each
from explainsvc.autograd.shapes import Shape, broadcast
from explainsvc.autograd.subscripts import einsum_gradient
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.windows import INT64


@vjp("Gemm", 0)
def gemm_a(n: NodeView, g: Term) -> Term:
    """∂/∂A' = α g B'ᵀ."""
    a, b, tb = n.x, n.input(1), n.attr("transB", 0)
    return _gemm(n, b, g, tb, 1, a.shape) if n.attr("transA", 0) else _gemm(n, g, b, 0, 1 - tb, a.shape)


@vjp("Gemm", 1)
def gemm_b(n: NodeView, g: Term) -> Term:
    """∂/∂B' = α A'ᵀ g."""
    a, b, ta = n.x, n.input(1), n.attr("transA", 0)
    return _gemm(n, g, a, 1, ta, b.shape) if n.attr("transB", 0) else _gemm(n, a, g, 1 - ta, 0, b.shape)


@vjp("Gemm", 2)
def gemm_c(n: NodeView, g: Term) -> Term:
    """∂/∂C = β g, summed over broadcast axes."""
    beta = n.attr("beta", 1.0)
    return n.emit.sum_to(g if beta == 1 else g * beta, n.input(2))


def _gemm(n: NodeView, a: Term, b: Term, trans_a: int, trans_b: int, shape: Shape | None) -> Term:
    return n.emit.op("Gemm", a, b, transA=trans_a, transB=trans_b, alpha=n.attr("alpha", 1.0), shape=shape)


@vjp("MatMul", 0)
def _matmul_a(n: NodeView, g: Term) -> Term:
    """∂/∂A = g Bᵀ, summed over broadcast batch axes."""
    a, b, g = as_matrices(n.x, n.input(1), g)
    return as_operand(n.emit.sum_to(product(g, transposed(b)), a), n.x)


@vjp("MatMul", 1)
def _matmul_b(n: NodeView, g: Term) -> Term:
    """∂/∂B = Aᵀ g, summed over broadcast batch axes."""
    a, b, g = as_matrices(n.x, n.input(1), g)
    if b.rank == 2 and a.rank is not None and a.rank > 2:
        # a weight: one product of tall matrices instead of a product per batch entry and a sum
        return as_operand(product(transposed(tall(a)), tall(g)), n.input(1))
    return as_operand(n.emit.sum_to(product(transposed(a), g), b), n.input(1))


def as_matrices(a: Term, b: Term, g: Term) -> tuple[Term, Term, Term]:
    """Both operands and the gradient with the axes of size 1 that numpy's matmul gives to vectors."""
    if b.rank == 1:
        b, g = _unsqueezed(b, -1), _unsqueezed(g, -1)
    if a.rank == 1:
        a, g = _unsqueezed(a, -2), _unsqueezed(g, -2)
    return a, b, g


def _unsqueezed(t: Term, axis: int) -> Term:
    """A new axis of size 1 at ``axis``, which counts from the end."""
    dims = t.shape
    at = None if dims is None else len(dims) + 1 + axis
    shape = None if dims is None else (*dims[:at], 1, *dims[at:])
    return t.emit.op("Unsqueeze", t, t.emit.ints([axis]), shape=shape)


def as_operand(gradient: Term, operand: Term) -> Term:
    """Without the axis that :func:`as_matrices` gave to a vector."""
    return gradient.emit.reshape_like(gradient, operand) if operand.rank == 1 else gradient


def transposed(t: Term) -> Term:
    """The last two axes exchanged."""
    if t.shape is None:
        return t.emit.op("Einsum", t, equation="...ij->...ji")
    *batch, rows, columns = t.shape
    perm = [*range(len(batch)), len(batch) + 1, len(batch)]
    return t.emit.op("Transpose", t, perm=perm, shape=(*batch, columns, rows))


def tall(t: Term) -> Term:
    """[…, rows, columns] → [… · rows, columns]."""
    columns = None if t.shape is None else t.shape[-1]
    if isinstance(columns, int):
        return t.emit.reshape(t, [-1, columns])
    last = t.emit.op("Shape", t, dtype=INT64, shape=(1,), start=-1)
    return t.emit.op("Reshape", t, t.emit.op("Concat", t.emit.ints([-1]), last, axis=0), shape=(None, columns))


def product(a: Term, b: Term) -> Term:
    """MatMul of (stacks of) matrices."""
    shape: Shape | None = None
    if a.shape is not None and b.shape is not None:
        batch = broadcast([a.shape[:-2], b.shape[:-2]])
        shape = None if batch is None else (*batch, a.shape[-2], b.shape[-1])
    return a.emit.op("MatMul", a, b, shape=shape)


@vjp_each("Einsum")
def _einsum(n: NodeView, i: int, g: Term) -> Term:
    return einsum_gradient(n, i, g)
