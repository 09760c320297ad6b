"""lrp_epsilon_plus_flat: z⁺ at convolutions, ε at dense layers, flat at the first layer.

Computes: As lrp_epsilon_plus; the first linear layers spread relevance evenly over their receptive fields.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two forward passes and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Blurred at the scale of the first layer's kernel.
Source: Kohlbrenner et al. 2020, arXiv:1910.09840; flat: Lapuschkin et al. 2019, arXiv:1902.10178.
Differs: Equal to zennit's EpsilonPlusFlat with its canonizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.lrp_rulebooks import epsilon_plus_flat, lrp_rulebook


@dataclass(frozen=True)
class Params:
    """ε and the treatment of biases."""

    epsilon: float = param(1e-6, "float", "ε of the ε-rule, in units of the layer's result", low=0)
    bias: str = param("counted", "str", "whether a bias takes its share of relevance", choices=("counted", "ignored"))


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Relevance S of the target, sent back by the preset's rules."""
    bias = p.bias == "counted"
    rulebook = lrp_rulebook(epsilon_plus_flat(p.epsilon, bias), b.path(), bias)
    return b.backward(rulebook, seed=b.seed * b.target)


METHOD = Method(read_card("lrp_epsilon_plus_flat", __doc__, Params), Params, program=program, complete="output", from_logit=True)
