"""Conv and ConvTranspose: each is the other's gradient."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.sliding import correlate, spread, weight_gradient
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.windows import Windows, sizes_of, spatial_rank, windows_of


def _windows(n: NodeView) -> Windows:
    return windows_of(n, sizes_of(n.input(1), spatial_rank(n)))


@vjp("Conv", 0)
def conv_x(n: NodeView, g: Term) -> Term:
    """``g`` times the weight, added into the window."""
    return spread(g, n.input(1), _windows(n), n.x)


@vjp("Conv", 1)
def conv_w(n: NodeView, g: Term) -> Term:
    """``g`` correlated with the image."""
    return weight_gradient(n.x, g, _windows(n), n.input(1))


@vjp("ConvTranspose", 0)
def _conv_transpose_x(n: NodeView, g: Term) -> Term:
    return correlate(g, n.input(1), _windows(n), n.x)


@vjp("ConvTranspose", 1)
def _conv_transpose_w(n: NodeView, g: Term) -> Term:
    return weight_gradient(g, n.x, _windows(n), n.input(1))


@vjp("Conv", 2)
@vjp("ConvTranspose", 2)
def conv_bias(n: NodeView, g: Term) -> Term:
    """Sum over everything but the channels."""
    return n.emit.sum(g, [0, *range(2, 2 + spatial_rank(n))], keepdims=False)
