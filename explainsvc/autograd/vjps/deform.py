"""DeformConv (Dai et al. 2017, Deformable Convolutional Networks, equation 2; Zhu et al. 2018, v2, equation 1)."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.pullback import pullback
from explainsvc.autograd.registry import vjp_all
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sampling import as_float, bilinear, cells, unsqueezed
from explainsvc.autograd.vjps.sizes import dims, joined, reshape_to, upto


@vjp_all("DeformConv")
def _deform_conv(n: NodeView, g: Term) -> dict[int, Term | None]:
    return dict(pullback(n, _convolved, g))


def _convolved(n: NodeView, images: Term, w: Term, offset: Term, bias: Term | None = None, mask: Term | None = None) -> Term:
    """The product of the weights with the columns that the moved kernel sees, group by group."""
    emit, batch, group = n.emit, dims(images, [0]), n.attr("group", 1)
    columns = reshape_to(
        _columns(n, images, w, offset, mask), batch, emit.ints([group, -1]), dims(offset, [2]) * dims(offset, [3])
    )
    weights = reshape_to(w, emit.ints([group, -1]), dims(w, [1]) * dims(w, [2]) * dims(w, [3]))
    y = reshape_to(weights @ columns, batch, emit.ints([-1]), dims(offset, [2, 3]))
    return y if bias is None else y + unsqueezed(bias, 1, 2)


def _columns(n: NodeView, images: Term, w: Term, offset: Term, mask: Term | None) -> Term:
    """[batch · offset groups, channels, kernel height, width, output height, width]: what lies under the kernel."""
    emit, height, width = n.emit, dims(images, [2]), dims(images, [3])
    groups, around = emit.ints([n.attr("offset_group", 1)]), joined(dims(w, [2, 3]), dims(offset, [2, 3]))
    channels = dims(images, [1]) / groups
    apart = reshape_to(images, emit.ints([-1]), channels, height, width, shape=(None,) * 4)
    moves = reshape_to(offset, emit.ints([-1]), dims(w, [2, 3]), emit.ints([2]), dims(offset, [2, 3]))
    down, across = (emit.op("Gather", moves, emit.constant(i, "int64"), axis=3) for i in (0, 1))
    y = down + unsqueezed(_regular(n, w, offset, 0), 1, 3)
    x = across + unsqueezed(_regular(n, w, offset, 1), 0, 2)
    first = unsqueezed(upto(dims(images, [0]) * groups) * (height * width), 1, 2, 3, 4)
    sampled = emit.sum(bilinear(cells(apart), first, y, x, height, width), [5], keepdims=False)
    if mask is not None:
        sampled = sampled * unsqueezed(reshape_to(mask, emit.ints([-1]), around), 5)
    return emit.op("Transpose", sampled, perm=[0, 5, 1, 2, 3, 4])


def _regular(n: NodeView, w: Term, offset: Term, axis: int) -> Term:
    """Where the kernel would look without offsets along ``axis`` [kernel, output]."""
    stride, dilation = (n.attr(name, (1, 1))[axis] for name in ("strides", "dilations"))
    kernel, output = (as_float(upto(dims(t, [2 + axis])), offset) for t in (w, offset))
    return unsqueezed(kernel * float(dilation), 1) + (output * float(stride) - float(n.attr("pads", (0,) * 4)[axis]))
