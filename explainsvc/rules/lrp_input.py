"""LRP rules for the layer that sees the input: flat, w² and z^B, none of which asks how large the input is against zero."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.registry import apply_vjp
from explainsvc.autograd.sliding import count_cells, spread_ones
from explainsvc.autograd.windows import INT64, sizes_of, spatial_rank, static_sizes, windows_of
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.rules.lrp import STABILIZER, data_operand, refusal, stabilized, without_bias
from explainsvc.rules.lrp_box import Bound, box_of
from explainsvc.rules.lrp_signed import contributions, negative, positive


def lrp_flat(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_i = Σ_j 1/(Σ_i 1) R_j over the inputs i of neuron j (Lapuschkin et al. 2019, arXiv:1902.10178)."""
    i = data_operand(n)
    w = n.input(1 - i)
    if n.op_type == "Conv" and n.asked == (0,) and n.attr("group", 1) == 1 and static_sizes(w) is not None:
        return [_flat_over_windows(n, r), *([None] * (len(n.node.inputs) - 1))]
    return _by_weights(n, r, _ones_like(w), 1.0, 1.0)


def lrp_w_square(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_i = Σ_j w_ij² / (Σ_i w_ij²) R_j (Montavon et al. 2017, arXiv:1512.02479, w²-rule)."""
    w = n.input(1 - data_operand(n))
    return _by_weights(n, r, w * w, float(n.attr("alpha", 1.0)) ** 2, float(n.attr("beta", 1.0)) ** 2)


def _by_weights(n: NodeView, r: Term, w: Term, alpha: float, beta: float) -> list[Term | None]:
    """R_i = Σ_j w_ij / (Σ_i w_ij) R_j for weights ≥ 0, whatever the input; a bias that leads to the input is one of them."""
    i = data_operand(n)
    operands: dict[int, Term | None] = {i: _ones_like(n.input(i)), 1 - i: w}
    if len(n.node.inputs) > 2:
        operands[2] = _ones_like(n.input(2)) if 2 in n.asked else None
    m = n.replace(operands)
    if n.op_type == "Gemm":
        for name, factor in (("alpha", alpha), ("beta", beta)):
            m.node.attributes[name] = ir.AttrFloat32(name, factor)
    s = r / (m.y + STABILIZER)
    return [apply_vjp(m, k, s) if k in n.asked else None for k in range(len(n.node.inputs))]


def _flat_over_windows(n: NodeView, r: Term) -> Term:
    """:func:`lrp_flat` of a Conv: a neuron gives the same to all channels of a cell, so that one channel is computed."""
    emit, win = n.emit, windows_of(n, sizes_of(n.input(1), spatial_rank(n)))
    channels = emit.cast(emit.op("Shape", n.x, dtype=INT64, shape=(1,), start=1, end=2), r.dtype or emit.float_type)
    share = r / (count_cells(n.x, n.y, win, padding_counts=False) * channels + STABILIZER)
    shape = None if n.x.shape is None else (n.x.shape[0], 1, *n.x.shape[2:])
    one_channel = emit.op("Slice", n.x, emit.ints([0]), emit.ints([1]), emit.ints([1]), shape=shape)
    return emit.expand_like(spread_ones(emit.sum(share, [1]), win, one_channel), n.x)


def lrp_z_box(low: Bound | None, high: Bound | None) -> Rule:
    """R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i (the same) R_j for l ≤ x ≤ h (Montavon et al. 2017, z^B-rule).

    Args:
        low: l, the least value of every element of the input; None is refused at the first node that the rule is asked for.
        high: h, the greatest.

    Raises:
        InvalidParameter: low > high somewhere.
    """
    if low is not None and high is not None:
        low.require_below(high)

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        if low is None or high is None:
            missing = [name for name, bound in (("low", low), ("high", high)) if bound is None]
            raise InvalidParameter(
                "the rule z^B needs the bounds of the input", where=n.where(),
                violations=[Violation(f"parameters.{name}", "is required") for name in missing],
                expected="a number, an array that broadcasts to the input, or one number per channel",
            )  # fmt: skip
        i = data_operand(n)
        if 2 in n.asked:
            raise refusal(n, "bounds of an activation in the place of a bias")
        least, greatest = box_of(n, i, low, high)
        (lower,) = contributions(n, [least], positive, negative, None)
        (upper,) = contributions(n, [greatest], negative, positive, None)
        s = r / stabilized(without_bias(n) - lower.y - upper.y, STABILIZER)
        result: list[Term | None] = [None] * len(n.node.inputs)
        x, back = n.input(i), [apply_vjp(m, i, s) for m in (n, lower, upper)]
        if back[0] is not None and back[1] is not None and back[2] is not None:
            result[i] = x * back[0] - least * back[1] - greatest * back[2]
        return result

    return rule


def _ones_like(x: Term) -> Term:
    return x.emit.zeros_like(x) + 1
