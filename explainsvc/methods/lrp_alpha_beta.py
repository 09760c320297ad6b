"""lrp_alpha_beta: Positive contributions share α times the relevance, negative ones −β times.

Computes: R_i = Σ_j (α z_ij⁺/z_j⁺ − β z_ij⁻/z_j⁻) R_j, z_ij⁺ = a⁺w⁺ + a⁻w⁻, at every linear layer; z-rule at sums.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two more forward and two backward passes; twice that at layers whose input may be negative.
Properties: Conserved where every neuron has contributions of both signs; `residual` reports the rest.
Limits: A neuron without negative contributions hands on α times its relevance: sums can exceed S on deep networks.
Source: Bach, Binder, Montavon, Klauschen, Müller, Samek 2015, PLOS ONE 10(7) e0130140, equation 60.
Differs: Signs split on activations and weights, biases into b⁺ and b⁻, as zennit's AlphaBeta; captum clamps weights only.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainsvc.cards import param
from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere


@dataclass(frozen=True)
class Params(BiasParams):
    """α, β and the treatment of biases."""

    alpha: float = param(2.0, "float", "weight of positive contributions, 1 + beta", low=1)
    beta: float = param(1.0, "float", "weight of negative contributions", low=0)


METHOD = lrp_method("lrp_alpha_beta", __doc__, Params, lambda p: everywhere("lrp_alpha_beta", alpha=p.alpha, beta=p.beta))
