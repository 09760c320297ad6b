"""AffineGrid: places times a matrix, hence linear in it."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.linear import product
from explainsvc.autograd.vjps.sizes import dims, reshape_to


@vjp("AffineGrid")
def _affine_grid(n: NodeView, g: Term) -> Term:
    """∂/∂θ = gᵀ (places, 1), summed over the places; the places are what the unit matrix gives."""
    emit, axes = n.emit, dims(n.x, [1])
    unit = emit.op("EyeLike", emit.op("Gather", n.x, emit.constant(0, "int64"), axis=0, shape=None))
    places = n.replace({0: emit.zeros_like(n.x) + unit}).y
    flat, arriving = (reshape_to(t, emit.ints([0, -1]), axes, shape=(None, None, None)) for t in (places, g))
    ones = emit.op("Slice", flat * 0 + 1, emit.ints([0]), emit.ints([1]), emit.ints([2]), shape=(None, None, 1))
    return product(emit.op("Transpose", arriving, perm=[0, 2, 1]), emit.op("Concat", flat, ones, axis=2)).like(n.x)
