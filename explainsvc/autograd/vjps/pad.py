"""Operators that put a border around something, or take one away."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.index import through_positions
from explainsvc.autograd.vjps.sizes import INT64, dims, identity, int64, part, reshape_to, size


@vjp("Pad")
def _pad(n: NodeView, g: Term) -> Term:
    """A border of a constant is cut off again; one that copies elements adds to those."""
    if n.attr("mode", "constant") != "constant":
        return through_positions(n, g)
    back = size("Neg", n.input(1))
    axes = n.const(3)
    if axes is None:
        return n.emit.op("Pad", g, back, None, n.input(3) if n.has(3) else None, shape=n.x.shape)
    count = len(axes)
    begins, ends = part(back, 0, count), part(back, count, 2 * count)
    return n.emit.pad(g, begins, ends, [int(a) for a in axes], shape=n.x.shape)


@vjp("Pad", 2)
def _pad_value(n: NodeView, g: Term) -> Term:
    """The sum of ``g`` over the border."""
    border = n.replace({0: n.emit.zeros_like(n.x), 2: n.emit.zeros_like(n.input(2)) + 1}).y
    return n.emit.reshape_like(n.emit.op("ReduceSum", g * border, keepdims=0, shape=()), n.input(2))


@vjp("CenterCropPad")
def _center_crop_pad(n: NodeView, g: Term) -> Term:
    axes = n.attr("axes")
    back = n.emit.op("Shape", n.x, dtype=INT64) if axes is None else dims(n.x, axes)
    return n.emit.op("CenterCropPad", g, back, shape=n.x.shape, axes=axes)


@vjp("Col2Im")
def _col2im(n: NodeView, g: Term) -> Term:
    """The blocks of the image again: a convolution whose kernels each pick one place of the block."""
    emit, block, shape = n.emit, int64(n.input(2)), n.input(2).shape
    places = emit.op("ReduceProd", block, keepdims=1, shape=(1,))
    kernel = reshape_to(emit.cast(identity(places), g.dtype or emit.float_type), places, emit.ints([1]), block)
    spatial = shape[0] if shape is not None and isinstance(shape[0], int) else (g.rank or 4) - 2
    alone = emit.reshape(g, [-1, 1] + [0] * spatial)
    window = {k: n.attr(k) for k in ("strides", "dilations", "pads")}
    return emit.reshape_like(emit.op("Conv", alone, kernel, **window), n.x)
