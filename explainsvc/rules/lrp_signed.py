"""LRP rules that treat positive and negative contributions z_ij = a_i w_ij apart: α-β, its case z⁺, and γ.

The positive contributions of a layer are a⁺w⁺ + a⁻w⁻, the negative ones a⁺w⁻ + a⁻w⁺: two products each, of which the
second vanishes where a ≥ 0 is known (after a ReLU) and is not computed. A bias is an input that is always 1; one that
leads to the input itself is an input like any other, and gets its relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial, reduce
from operator import add
from typing import Literal

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.registry import apply_vjp
from explainsvc.rules.lrp import CONVOLUTION, STABILIZER, counts_bias, data_operand, stabilized
from explainsvc.rules.signs import is_nonnegative

GammaForm = Literal["damp_negative", "add_positive"]
Weigh = Callable[[Term], Term]
"""Weights → their positive part, their negative part, or one of the two made smaller."""


@cache
def lrp_z_plus(bias: bool = True) -> Rule:
    """α1β0: R_i = Σ_j (a_i w_ij)⁺ / Σ_i (a_i w_ij)⁺ R_j (Montavon et al. 2017, arXiv:1512.02479, z⁺-rule).

    A bias counts with its positive part.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        return _relevance(n, [_one_sign(n, r, positive, negative, bias, halves_of(n))])

    return rule


@cache
def lrp_alpha_beta(alpha: float, beta: float, bias: bool = True) -> Rule:
    """R_i = Σ_j (α z_ij⁺ / z_j⁺ − β z_ij⁻ / z_j⁻) R_j, α − β = 1 (Bach et al. 2015, equation 60).

    A bias counts in z_j⁺ where it is positive and in z_j⁻ where it is negative.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        halves = halves_of(n)
        excited = _one_sign(n, r * alpha, positive, negative, bias, halves)
        return _relevance(n, [excited, _one_sign(n, r * -beta, negative, positive, bias, halves)])

    return rule if beta != 0 else lrp_z_plus(bias)


@cache
def lrp_gamma(more: float, less: float, bias: bool = True) -> Rule:
    """R_i = Σ_j c_ij / Σ_i c_ij R_j, c_ij = m z_ij⁺ + l z_ij⁻ where z_j ≥ 0, else l z_ij⁺ + m z_ij⁻; m ≥ l ≥ 0.

    For a ≥ 0 and z ≥ 0: Montavon et al. 2019, section 10.2.3; see :func:`gamma_weights`.
    For inputs and results of either sign: Andéol et al. 2021 (arXiv:2105.12807), as zennit's Gamma.
    A bias counts as any other contribution; the sign of z_j is that of the layer's result.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        favour, oppose = partial(_weighed, "Max", more, less), partial(_weighed, "Min", more, less)
        halves = halves_of(n)
        excited = contributions(n, halves, favour, oppose, _bias(n, favour, oppose, bias))
        inhibited = contributions(n, halves, oppose, favour, _bias(n, oppose, favour, bias))
        upper = r * n.emit.step(n.y, at_zero=1.0)
        return _relevance(n, [
            (excited, upper / stabilized(_total(excited), STABILIZER)),
            (inhibited, (r - upper) / stabilized(_total(inhibited), STABILIZER)),
        ])  # fmt: skip

    return rule


def gamma_weights(gamma: float, form: GammaForm) -> tuple[float, float]:
    """m and l of :func:`lrp_gamma`: 1 and γ for w⁺ + γw⁻, γ ≤ 1; 1 + γ′ and 1 for w + γ′w⁺, the same with γ = 1/(1 + γ′)."""
    return (1.0, gamma) if form == "damp_negative" else (1 + gamma, 1.0)


def positive(x: Term) -> Term:
    """x⁺."""
    return x.emit.op("Relu", x)


def negative(x: Term) -> Term:
    """x⁻ = min(x, 0)."""
    return x.emit.op("Min", x, 0)


def _weighed(op_type: str, more: float, less: float, w: Term) -> Term:
    """max(m w, l w) = m w⁺ + l w⁻, min(m w, l w) = l w⁺ + m w⁻."""
    return w.emit.op(op_type, w * more, w * less)


def halves_of(n: NodeView) -> list[Term]:
    """The data operand where it is known to be ≥ 0, else its positive and its negative part."""
    a = n.input(data_operand(n))
    return [a] if is_nonnegative(a.value) else [positive(a), negative(a)]


def contributions(n: NodeView, halves: Sequence[Term], upper: Weigh, lower: Weigh, bias: Term | None) -> list[NodeView]:
    """The layer of the contributions z_ij that ``upper`` keeps: a⁺·upper(w) + ``bias``, and a⁻·lower(w)."""
    i, has_bias = data_operand(n), len(n.node.inputs) > 2
    weights = (lower, upper) if _factor(n, "alpha") < 0 else (upper, lower)
    return [
        n.replace({i: a, 1 - i: weigh(n.input(1 - i)), **({2: b} if has_bias else {})})
        for a, weigh, b in zip(halves, weights[: len(halves)], (bias, None)[: len(halves)], strict=True)
    ]


def _bias(n: NodeView, upper: Weigh, lower: Weigh, bias: bool) -> Term | None:
    """What of operand 2 ``upper`` keeps, where it takes a share: a bias that counts, or one more input of the neuron."""
    if not counts_bias(n, bias):
        return None
    return (lower if _factor(n, "beta") < 0 else upper)(n.input(2))


def _factor(n: NodeView, name: str) -> float:
    """Gemm's α of the product, β of the bias."""
    return float(n.attr(name, 1.0)) if n.op_type == "Gemm" else 1.0


Share = tuple[Sequence[NodeView], Term]
"""Contributions, and s_j = R_j / z_j: what each unit of them gets."""


def _one_sign(n: NodeView, r: Term, upper: Weigh, lower: Weigh, bias: bool, halves: Sequence[Term]) -> Share:
    """The contributions of one sign, that which ``upper`` keeps, and s = R / (z ± ε)."""
    b, epsilon = _bias(n, upper, lower, bias), STABILIZER if upper is positive else -STABILIZER
    if n.op_type in CONVOLUTION and n.has(2) and 2 not in n.asked:  # ε is added with the bias: one pass over z less
        layers = contributions(n, halves, upper, lower, (n.input(2) * 0 if b is None else b) + epsilon)
        return layers, r / _total(layers)
    layers = contributions(n, halves, upper, lower, b)
    return layers, r / (_total(layers) + epsilon)


def _total(layers: Sequence[NodeView]) -> Term:
    """z_j = Σ_i z_ij."""
    return reduce(add, (m.y for m in layers))


def _relevance(n: NodeView, shares: Sequence[Share]) -> list[Term | None]:
    """R_i = Σ_j z_ij s_j over all shares: of the data operand, and of a bias that leads to the input."""
    result: list[Term | None] = [None] * len(n.node.inputs)
    i = data_operand(n)
    of_halves = zip(*(_sent(i, share) for share in shares), strict=True)
    result[i] = _sum(
        [a * total for (a, first), *rest in of_halves if (total := _sum([first, *(g for _, g in rest)])) is not None]
    )
    if 2 in n.asked:
        result[2] = _sum([c * g for c, g in (_sent(2, share)[0] for share in shares) if g is not None])
    return result


def _sent(i: int, share: Share) -> list[tuple[Term, Term | None]]:
    """Per half: operand ``i`` of its layer, and Σ_j w_ij s_j."""
    layers, s = share
    return [(m.input(i), apply_vjp(m, i, s)) for m in layers if m.has(i)]


def _sum(terms: Sequence[Term | None]) -> Term | None:
    present = [t for t in terms if t is not None]
    return reduce(add, present) if present else None
