"""lrp_epsilon_plus: z⁺ at convolutions, ε at dense layers.

Computes: lrp_z_plus at Conv and ConvTranspose, lrp_epsilon at Gemm and MatMul, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two forward passes and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: The z⁺ part is insensitive to upper convolutional layers on deep networks.
Source: Kohlbrenner et al. 2020, arXiv:1910.09840; Bach, Binder, Montavon, Klauschen, Müller, Samek 2015, PLOS ONE 10(7) e0130140.
Differs: Equal to zennit's EpsilonPlus with its BatchNorm and residual canonizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.lrp_rulebooks import epsilon_plus, lrp_rulebook


@dataclass(frozen=True)
class Params:
    """ε and the treatment of biases."""

    epsilon: float = param(1e-6, "float", "ε of the ε-rule, in units of the layer's result", low=0)
    bias: str = param("counted", "str", "whether a bias takes its share of relevance", choices=("counted", "ignored"))


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Relevance S of the target, sent back by the preset's rules."""
    bias = p.bias == "counted"
    rulebook = lrp_rulebook(epsilon_plus(p.epsilon, bias), b.path(), bias)
    return b.backward(rulebook, seed=b.seed * b.target)


METHOD = Method(read_card("lrp_epsilon_plus", __doc__, Params), Params, program=program, complete="output", from_logit=True)
