"""What onnxruntime's optimisers write: Conv, Gemm and MatMul fused with an activation, a sum, a transpose, a scale."""

from __future__ import annotations

from collections.abc import Sequence

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define, vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.conv import conv_bias, conv_w, conv_x
from explainsvc.autograd.vjps.linear import gemm_a, gemm_b, gemm_c, product, transposed
from explainsvc.errors import NotDifferentiable

MICROSOFT = "com.microsoft"


def _before(n: NodeView, g: Term) -> Term:
    """The gradient before the activation, whose slope follows from its result alone."""
    name, y, mask = n.attr("activation", ""), n.y, n.emit.mask
    match name, _parameters(n):
        case "", _:
            return g
        case "Relu", _:
            return g * mask(y > 0, y)
        case "LeakyRelu", (alpha, *_):
            return n.emit.where(y > 0, g, g * alpha)
        case "Sigmoid", _:
            return g * (y * (1 - y))
        case "Tanh", _:
            return g * (1 - y * y)
        case "Clip", (low, high, *_):
            return g * mask(y > low, y) * mask(y < high, y)
        case "HardSigmoid", (alpha, *_):
            return g * alpha * mask(y > 0, y) * mask(y < 1, y)
    raise _refused(n, f'the fused activation "{name}" has no derivative rule')


def _parameters(n: NodeView) -> Sequence[float]:
    """FusedConv lists them, FusedGemm names them."""
    named = [n.attr(f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    return n.attr("activation_params") or tuple(p for p in named if p is not None)


def _refused(n: NodeView, what: str) -> NotDifferentiable:
    to_do = "Explain the model as it was before onnxruntime optimised it"
    return NotDifferentiable(what, where=n.where(), to_do=to_do)


define(
    "FusedConv",
    lambda n, g: conv_x(n, _before(n, g)),
    lambda n, g: conv_w(n, _before(n, g)),
    lambda n, g: conv_bias(n, _before(n, g)),
    _before,  # the summand
    domain=MICROSOFT,
)
define(
    "FusedGemm",
    lambda n, g: gemm_a(n, _before(n, g)),
    lambda n, g: gemm_b(n, _before(n, g)),
    lambda n, g: gemm_c(n, _before(n, g)),
    domain=MICROSOFT,
)


@vjp("FusedMatMul", 0, domain=MICROSOFT)
def _fused_a(n: NodeView, g: Term) -> Term:
    a, b = _factors(n)
    gradient = n.emit.sum_to(product(g * n.attr("alpha", 1.0), transposed(b)), a)
    return transposed(gradient) if n.attr("transA", 0) else gradient


@vjp("FusedMatMul", 1, domain=MICROSOFT)
def _fused_b(n: NodeView, g: Term) -> Term:
    a, b = _factors(n)
    gradient = n.emit.sum_to(product(transposed(a), g * n.attr("alpha", 1.0)), b)
    return transposed(gradient) if n.attr("transB", 0) else gradient


def _factors(n: NodeView) -> tuple[Term, Term]:
    """Both operands as they are multiplied."""
    if n.attr("transBatchA", 0) or n.attr("transBatchB", 0) or 1 in (n.x.rank, n.input(1).rank):
        raise _refused(n, "FusedMatMul of vectors, or with transposed batch axes, has no derivative rule")
    a, b = n.x, n.input(1)
    return transposed(a) if n.attr("transA", 0) else a, transposed(b) if n.attr("transB", 0) else b
