"""LRP rulebooks for transformers: AttnLRP and conservative propagation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.graph.roles import role
from explainsvc.rules.lrp import ACTIVATION, CONVOLUTION, DENSE, ROUTING, SHARING, lrp_epsilon, pass_through, refuse, route
from explainsvc.rules.lrp_attention import (
    BIASED_ACTIVATION,
    FUSED_ACTIVATION,
    MICROSOFT,
    NORM,
    PRODUCT,
    SKIP_NORM,
    divides_by_norm,
    has_several_factors,
    is_gated,
    lrp_biased_activation,
    lrp_half,
    lrp_held_norm,
    lrp_norm,
    lrp_signal,
    lrp_skip_norm,
    lrp_softmax,
    lrp_sum,
    lrp_uniform,
    lrp_written_out,
)  # fmt: skip
from explainsvc.rules.lrp_gates import CELLS, lrp_recurrent

SUBGRAPHS = frozenset({"If", "Loop", "Scan"})
"""Their own backward pass hands on what arrives, by these rules at the nodes inside."""


OF_THEIR_OWN = NORM | SKIP_NORM | CELLS.keys() | SUBGRAPHS | {"Softmax"}
"""Operators that the ε-rule alone refuses."""


@dataclass(frozen=True)
class Rules:
    """What the methods differ in.

    Attributes:
        products: Whether a node is a product whose factors need a rule.
        contraction: Rule of such a MatMul, Gemm or Einsum.
        elementwise: Rule of such a Mul.
        softmax: Rule of Softmax.
        recurrent: Rule of LSTM, GRU and RNN.
    """

    products: Callable[[NodeView], bool]
    contraction: Rule
    elementwise: Rule
    softmax: Rule
    recurrent: Rule


def attention_rulebook(rules: Rules, epsilon: float, bias: bool) -> Rulebook:
    """Which rule at which node; ``epsilon`` at linear layers, LayerNorm and sums; ``bias``: whether biases take their share."""
    linear = lrp_epsilon(epsilon, bias)
    onnx = dict.fromkeys(CONVOLUTION | DENSE, linear) | dict.fromkeys(SHARING, lrp_sum(epsilon, bias))
    onnx |= dict.fromkeys(ACTIVATION, pass_through) | dict.fromkeys(ROUTING, route)
    onnx |= dict.fromkeys(NORM, lrp_norm(epsilon, bias)) | {"Softmax": rules.softmax}
    onnx |= dict.fromkeys(CELLS, rules.recurrent)
    fused = {"FusedMatMul": linear, "TransposeMatMul": linear} | dict.fromkeys(FUSED_ACTIVATION, pass_through)
    fused |= dict.fromkeys(SKIP_NORM, lrp_skip_norm(epsilon, bias))
    fused |= dict.fromkeys(BIASED_ACTIVATION, lrp_biased_activation(epsilon, bias))
    tables = {"": onnx, "ai.onnx": onnx, MICROSOFT: fused}

    def rulebook(n: NodeView) -> Rule | None:
        if n.op_type in SUBGRAPHS and n.node.domain == "":
            return None
        if role(n.node) == "activation":
            return lrp_written_out
        if n.op_type in PRODUCT and rules.products(n):
            return rules.elementwise if n.op_type == "Mul" else rules.contraction
        if n.op_type == "Div" and len(n.asked) > 1 and divides_by_norm(n):
            return lrp_held_norm
        return tables.get(n.node.domain, {}).get(n.op_type, refuse)

    return rulebook


def attn_lrp(epsilon: float, bias: bool) -> Rulebook:
    """AttnLRP: products share uniformly, relevance passes the Softmax; the paper has no rule for recurrent layers."""
    rules = Rules(has_several_factors, lrp_uniform(epsilon, bias), lrp_half, lrp_softmax, recurrent=refuse)
    return attention_rulebook(rules, epsilon, bias)


def cp_lrp(epsilon: float, bias: bool) -> Rulebook:
    """Conservative propagation: the gates of products are constants; a Softmax that is no gate has no rule."""
    signal, recurrent = lrp_signal(epsilon, bias), lrp_recurrent(epsilon, bias)
    return attention_rulebook(Rules(is_gated, signal, signal, softmax=refuse, recurrent=recurrent), epsilon, bias)


def differs_from_lrp(path: Iterable[NodeView], wanted: Iterable[Term]) -> bool:
    """Whether there is a node where these rules are not the ε-rule's own: Softmax, normalisation, recurrence, gate."""
    inside = {t.value for t in wanted}
    for n in path:
        activations = sum(v in inside for v in n.node.inputs[:2])
        if n.op_type in OF_THEIR_OWN or (n.op_type in PRODUCT | {"Div"} and activations > 1):
            return True
        inside.update(n.node.outputs)
    return False
