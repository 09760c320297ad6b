"""lrp_epsilon: Relevance shared among inputs in proportion to their contribution, small denominators damped.

Computes: R_i = Σ_j a_i w_ij / (z_j + ε sign z_j) R_j at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: One forward and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Equals input × gradient for ReLU networks without biases as ε → 0, and shares its noise.
Source: Bach, Binder, Montavon, Klauschen, Müller, Samek 2015, PLOS ONE 10(7) e0130140, equation 58.
Differs: ε is absolute (zennit's 1e-6); captum's default is 1e-9, iNNvestigate's 1e-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.lrp_rulebooks import epsilon, lrp_rulebook


@dataclass(frozen=True)
class Params:
    """ε and the treatment of biases."""

    epsilon: float = param(1e-6, "float", "ε of the ε-rule, in units of the layer's result", low=0)
    bias: str = param("counted", "str", "whether a bias takes its share of relevance", choices=("counted", "ignored"))


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Relevance S of the target, sent back by the preset's rules."""
    bias = p.bias == "counted"
    rulebook = lrp_rulebook(epsilon(p.epsilon, bias), b.path(), bias)
    return b.backward(rulebook, seed=b.seed * b.target)


METHOD = Method(read_card("lrp_epsilon", __doc__, Params), Params, program=program, complete="output", from_logit=True)
