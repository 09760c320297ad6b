"""FusedMatMul, which onnxruntime's optimisers write: α A' B', both operands laid out anew."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.linear import as_matrices, as_operand, product, transposed
from explainsvc.errors import NotDifferentiable

MICROSOFT = "com.microsoft"


def _refused(n: NodeView, what: str) -> NotDifferentiable:
    to_do = "Explain the model as it was before onnxruntime optimised it"
    return NotDifferentiable(what, where=n.where(), to_do=to_do)


def _fused_a(n: NodeView, g: Term) -> Term:
    a, b, g = as_matrices(_laid_out(n, 0), _laid_out(n, 1), g * n.attr("alpha", 1.0))
    return _laid_back(n, 0, n.emit.sum_to(product(g, transposed(b)), a))


def _fused_b(n: NodeView, g: Term) -> Term:
    a, b, g = as_matrices(_laid_out(n, 0), _laid_out(n, 1), g * n.attr("alpha", 1.0))
    return _laid_back(n, 1, n.emit.sum_to(product(transposed(a), g), b))


define("FusedMatMul", _fused_a, _fused_b, domain=MICROSOFT)
define("TransposeMatMul", _fused_a, _fused_b, domain=MICROSOFT)  # its earlier name


def _flags(n: NodeView, operand: int) -> tuple[bool, bool]:
    """Whether the first axis goes behind the batch axes, and whether the last two are exchanged; never of a vector."""
    if n.input(operand).rank == 1:
        return False, False
    return bool(n.attr(f"transBatch{'AB'[operand]}", 0)), bool(n.attr(f"trans{'AB'[operand]}", 0))


def _laid_out(n: NodeView, operand: int) -> Term:
    """An operand as it is multiplied."""
    (batch, last), term = _flags(n, operand), n.input(operand)
    term = _permuted(n, term, [*range(1, _rank(n, operand) - 1), 0, _rank(n, operand) - 1]) if batch else term
    return transposed(term) if last else term


def _laid_back(n: NodeView, operand: int, g: Term) -> Term:
    """The gradient of an operand from that of what was multiplied."""
    batch, last = _flags(n, operand)
    g = transposed(g) if last else g
    if batch:
        back = _rank(n, operand) - 2
        g = _permuted(n, g, [back, *range(back), back + 1])
    return as_operand(g, n.input(operand))


def _permuted(n: NodeView, term: Term, perm: list[int]) -> Term:
    return n.emit.op("Transpose", term, perm=perm, shape=None if term.shape is None else tuple(term.shape[p] for p in perm))


def _rank(n: NodeView, operand: int) -> int:
    rank = n.input(operand).rank
    if rank is None:
        raise _refused(n, "FusedMatMul with transposed batch axes of an operand of unknown rank has no derivative rule")
    return rank
