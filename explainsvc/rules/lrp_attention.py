"""LRP in transformers: products of activations, Softmax, normalisations (Achtibat et al. 2024, arXiv:2402.05602, "AttnLRP").

What lies between is linear, a sum, an activation or routing, and is treated as by :mod:`explainsvc.rules.lrp`. Conservative
propagation (Ali et al. 2022, arXiv:2202.07304, section 4) differs at products: it holds the attention weights constant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.backward import carries_gradient
from explainsvc.autograd.registry import apply_vjp
from explainsvc.autograd.vjps.layernorm import SKIP_EPSILON, layer_standardised
from explainsvc.autograd.vjps.norm import EPSILON
from explainsvc.graph.roles import role
from explainsvc.rules.lrp import (
    ACTIVATION,
    DENSE,
    lrp_epsilon,
    refuse,
    share,
    stabilized,
)  # fmt: skip

MICROSOFT = "com.microsoft"
CONTRACTION = DENSE | {"FusedMatMul", "TransposeMatMul"}
PRODUCT = CONTRACTION | {"Mul"}
NORM = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "LpNormalization"})
"""Normalisations N(x) = x / g(x) (arXiv:2402.05602, Proposition 3.4), LayerNormalization after its mean is taken off."""
_IN_NORM = frozenset(
    "ReduceL1 ReduceL2 ReduceMean ReduceSum ReduceSumSquare Pow Mul Abs Sqrt Add Max Clip Cast Identity Expand Reshape Squeeze "
    "Unsqueeze".split()
)
"""What a norm is made of."""
SKIP_NORM = frozenset({"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"})
FUSED_ACTIVATION = frozenset({"Gelu", "QuickGelu"})
BIASED_ACTIVATION = frozenset({"BiasGelu", "FastGelu"})
_ON_THE_WAY = frozenset(
    "Identity Cast Dropout Reshape Transpose Squeeze Unsqueeze Flatten Expand Slice Concat Pad Split Where".split()
)
"""What may lie between a gate and the product where it acts: layout, dropout, a guard against rows of NaN."""
_LOWEST = float(np.finfo(np.float32).min)


# Products of activations ----------------------------------------------------------------------------------------------


def factors(n: NodeView) -> list[int]:
    """The operands of a product that lead to the input; the others are weights, or activations of inputs not explained."""
    return [i for i in n.asked if i < 2 or n.op_type == "Einsum"]


def has_several_factors(n: NodeView) -> bool:
    """Whether a product is one of activations."""
    return len(factors(n)) > 1


@cache
def lrp_uniform(epsilon: float, bias: bool = True) -> Rule:
    """R_ji = Σ_p a_ji b_ip R_jp / (2 o_jp + ε), and the same of b: half each (arXiv:2402.05602, Proposition 3.3).

    With k factors: 1/k each. ε with the sign of o. A Gemm's third operand has a share of its own, as in the ε-rule.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        several = factors(n)
        o = n.y if bias or n.op_type != "Gemm" or not n.has(2) or 2 in n.asked else n.replace({2: None}).y
        s = r / stabilized(o * len(several), epsilon)
        result: list[Term | None] = [None] * len(n.node.inputs)
        for i in n.asked:
            back = apply_vjp(n, i, s if i in several else s * len(several))
            result[i] = None if back is None else n.input(i) * back
        return result

    return rule


def lrp_half(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R/2 to each factor of an elementwise product, summed where it is broadcast (arXiv:2402.05602, Proposition 3.2)."""
    return [n.emit.sum_to((r * 0.5).like(n.y), n.input(i)) for i in range(2)]


@cache
def lrp_signal(epsilon: float, bias: bool = True) -> Rule:
    """The ε-rule of a product whose gate is held constant (Ali et al. 2022, section 4; Arras et al. 2017, section 3.1).

    Attention weights are gates, else sigmoids, else other activations. All relevance goes to the other factor, the signal; a
    product that does not say which factor that is is refused.
    """
    linear, sums = lrp_epsilon(epsilon, bias), lrp_sum(epsilon, bias)

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        several = factors(n)
        candidates = ([i for i in several if _comes_from(n.input(i).value, kind)] for kind in _GATES)
        gates = next((found for found in candidates if found), [])
        if len(several) > 1 and len(several) - len(gates) != 1:
            return refuse(n)
        signal = NodeView(n.node, n.emit, tuple(i for i in n.asked if i not in gates))
        if not signal.asked:  # only the gate leads to what is explained
            return [None] * len(n.node.inputs)
        return list((sums if n.op_type == "Mul" else linear)(signal, r))

    return rule


def is_gated(n: NodeView) -> bool:
    """Whether a product has several factors that lead to the input, or is that of attention weights with values that do not."""
    several = factors(n)
    others = [n.input(i).value for i in range(2) if i not in several]
    return len(several) > 1 or (
        n.op_type in CONTRACTION
        and all(v.const_value is None for v in others)
        and any(_comes_from(n.input(i).value, _is_softmax) for i in several)
    )


def _is_softmax(node: ir.Node) -> bool:
    return node.op_type == "Softmax"


def _is_activation(node: ir.Node) -> bool:
    return node.op_type in ACTIVATION | FUSED_ACTIVATION | BIASED_ACTIVATION or role(node) == "activation"


def _is_sigmoid(node: ir.Node) -> bool:
    return node.op_type in ("Sigmoid", "HardSigmoid") and role(node) != "gate"


_GATES: tuple[Callable[[ir.Node], bool], ...] = (_is_softmax, _is_sigmoid, _is_activation)
"""What makes a factor the gate, the first kind that one of the factors is of: weights, openings of 0 to 1, activations."""


def _comes_from(value: ir.Value, kind: Callable[[ir.Node], bool]) -> bool:
    """Whether a value is the result of a node of this kind, moved, scaled or taken from 1 at most."""
    todo, seen = [value], set[ir.Value]()
    while todo:
        current = todo.pop()
        maker = current.producer()
        if maker is None or current in seen:
            continue
        seen.add(current)
        if kind(maker):
            return True
        if maker.op_type in _ON_THE_WAY or (maker.op_type in ("Mul", "Sub") and _has_constant(maker)):
            todo += [v for v in maker.inputs if v is not None]
    return False


def _has_constant(node: ir.Node) -> bool:
    return any(v is not None and v.const_value is not None for v in node.inputs)


@cache
def lrp_sum(epsilon: float, bias: bool = True) -> Rule:
    """The ε-rule at sums, means and average pooling with the ε of the layers; factors and offsets as :func:`share` has them."""
    in_proportion, shares = lrp_epsilon(epsilon), share(bias)

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        passes = n.op_type in ("Mul", "Div", "Neg") or (n.op_type in ("Add", "Sub") and len(n.asked) == 1 and not bias)
        return list((shares if passes else in_proportion)(n, r))

    return rule


# Softmax --------------------------------------------------------------------------------------------------------------


def lrp_softmax(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_i = x_i (R_i − s_i Σ_j R_j) (arXiv:2402.05602, Proposition 3.1).

    A masked logit, −∞, has s_i = R_i = 0: it is read as the lowest number, so that its product is 0 and no NaN.
    """
    x, s = n.emit.op("Max", n.x, _LOWEST), _without_nan(n)
    return [x * (r - s * n.emit.sum(r, [n.attr("axis", -1)]))]


def _without_nan(n: NodeView) -> Term:
    """The softmax; 0 in rows that are masked altogether, where the model puts something else in its place."""
    if not any(user.op_type in ("Where", "Cast", "Identity") for user, _ in n.y.value.uses()):
        return n.y
    return n.emit.where(n.emit.op("IsNaN", n.y, dtype=ir.DataType.BOOL, shape=n.y.shape), 0.0, n.y)


# Normalisations -------------------------------------------------------------------------------------------------------


@cache
def lrp_norm(epsilon: float, bias: bool = True) -> Rule:
    """The divisor held constant (arXiv:2402.05602, Proposition 3.4): what is left is linear.

    A root mean square or another norm alone scales x: R_in = R_out. LayerNorm y = (x − mean(x))/σ ⊙ γ + β is the ε-rule of a
    linear layer: R = x ⊙ (c − mean(c))/σ with c = γ ⊙ R/(y ± ε).
    """

    def rule(n: NodeView, r: Term | None, *statistics: Term | None) -> list[Term | None]:
        if n.asked != (0,) or r is None or any(t is not None for t in statistics):
            return refuse(n)
        result: list[Term | None] = [None] * len(n.node.inputs)
        centred = n.op_type == "LayerNormalization"
        result[0] = _of_centred(n, n.x, r, (n.y, 1, 2), epsilon, bias) if centred else r
        return result

    return rule


def _of_centred(n: NodeView, x: Term, r: Term, layer: tuple[Term, int, int], epsilon: float, bias: bool) -> Term:
    """:func:`lrp_norm` of LayerNorm of ``x``; ``layer``: its result, which operands are its scale and its shift."""
    y, scale, shift = layer
    first = n.attr("axis", -1)
    if first >= 0 and x.rank is None:
        refuse(n)  # which axes are normalised is not known
    z = y if bias or not n.has(shift) else y - n.input(shift)
    c = r / stabilized(z, epsilon) * n.input(scale)
    axes = list(range(first, 0 if first < 0 else x.rank or 0))
    inside = n.attr("epsilon", SKIP_EPSILON if n.op_type in SKIP_NORM else EPSILON)
    inverse = layer_standardised(x, n.input(scale), axes, inside).inverse
    return x * ((c - n.emit.mean(c, axes)) * inverse)


def divides_by_norm(n: NodeView) -> bool:
    """Whether a Div is x / g(x), g made of reductions of x and of constants: a norm that is written out."""
    x, divisor = n.node.inputs[:2]
    todo, seen, found = [(divisor, False)], set[tuple[ir.Value, bool]](), False
    while todo:
        value, reduced = todo.pop()
        if value is None or value.const_value is not None or not carries_gradient(value) or (value, reduced) in seen:
            continue
        seen.add((value, reduced))
        found |= value is x
        maker = value.producer()
        if value is x and reduced:
            continue
        if value is x or maker is None or maker.op_type not in _IN_NORM:
            return False  # x itself, or what else leads to the input, is no norm
        todo += [(v, reduced or maker.op_type.startswith("Reduce")) for v in maker.inputs]
    return found


def lrp_held_norm(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_in = R_out for x, nothing for g(x) in x / g(x) (arXiv:2402.05602, Proposition 3.4)."""
    return [n.emit.sum_to(r, n.x), None]


@cache
def lrp_skip_norm(epsilon: float, bias: bool = True) -> Rule:
    """onnxruntime's x + skip (+ bias), normalised: :func:`lrp_norm`, then shares of the sum, which is result 3 as well."""

    def rule(n: NodeView, r: Term | None, *rest: Term | None) -> list[Term | None]:
        centred = n.op_type == "SkipLayerNormalization"
        at = 4 if centred else 3
        if not set(n.asked) <= {0, 1} or any(t is not None for t in rest[:2]):
            return refuse(n)
        summands = n.x + n.input(1)
        total = summands + n.input(at) if n.has(at) else summands
        parts = [] if r is None else [_of_centred(n, total, r, (n.y, 2, 3), epsilon, bias) if centred else r]
        parts += [t for t in rest[2:] if t is not None]
        s = sum(parts[1:], start=parts[0]) / stabilized(total if bias else summands, epsilon)
        return [n.emit.sum_to(n.input(i) * s, n.input(i)) if i in n.asked else None for i in range(len(n.node.inputs))]

    return rule


# Activations ----------------------------------------------------------------------------------------------------------


def lrp_written_out(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_in = R_out at the last node of x·g(x), an activation function in several nodes: x gets it all, g(x) nothing."""
    gates = [i for i, v in enumerate(n.node.inputs) if v is not None and (m := v.producer()) is not None and role(m) == "gate"]
    return [None if i in gates else r for i in range(len(n.node.inputs))]


@cache
def lrp_biased_activation(epsilon: float, bias: bool = True) -> Rule:
    """f(x + b), fused: the activation passes, the bias takes its share."""

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        if n.asked != (0,):
            return refuse(n)
        nothing: list[Term | None] = [None] * (len(n.node.inputs) - 1)
        return [n.x * (r / stabilized(n.x + n.input(1), epsilon)) if bias and n.has(1) else r, *nothing]

    return rule
