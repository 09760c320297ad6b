"""Det: ∂det(A)/∂A is the matrix of cofactors, which singular matrices have as well (Jacobi's formula). Inverse."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.linear import product, transposed
from explainsvc.autograd.vjps.sizes import INT64, identity


@vjp("Det")
def _det(n: NodeView, g: Term) -> Term:
    """Cofactor (i, j) is the determinant with row i replaced by the unit vector j: O(n⁵) for an n×n matrix."""
    emit = n.emit
    unit = _unit(n)
    rows, columns = (emit.op("Unsqueeze", unit, emit.ints(axes)) for axes in ([1, 3], [0, 2]))
    replaced = emit.op("Unsqueeze", n.x, emit.ints([-4, -3])) * (1 - rows) + rows * columns
    cofactors = emit.op("Det", replaced, shape=n.x.shape)
    return (emit.op("Unsqueeze", g, emit.ints([-2, -1])) * cofactors).like(n.x)


def _unit(n: NodeView) -> Term:
    """The unit matrix of the size of the operand."""
    emit, dtype = n.emit, n.x.dtype or n.emit.float_type
    size = emit.op("Shape", n.x, dtype=INT64, shape=(1,), start=-1)
    return emit.cast(identity(size), dtype)


@vjp("Inverse", domain="com.microsoft")
def _inverse(n: NodeView, g: Term) -> Term:
    """∂L/∂A = −A⁻ᵀ g A⁻ᵀ."""
    back = transposed(n.y)
    return -product(product(back, g), back)
