"""lrp_gamma: Contributions that work with a neuron count more than those that work against it.

Computes: Shares by a_i (w_ij⁺ + γ w_ij⁻) at every linear layer (γ w⁺ + w⁻ where z_j < 0), z-rule at sums.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two more forward and two backward passes; twice that at layers whose input may be negative.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: γ = 1 is LRP-0, γ = 0 is α1β0 (for a, z ≥ 0): between their noise and their insensitivity.
Source: Montavon et al. 2019, LNCS 11700, section 10.2.3; inputs and results of either sign: Andéol et al. 2021, arXiv:2105.12807.
Differs: zennit and captum write w + γ′w⁺ (form="add_positive"): γ = 1/(1+γ′), the direction reversed; their 0.25 is 0.8.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainsvc.cards import param
from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere
from explainsvc.rules.lrp_table import FORM_TEXT, FORMS


@dataclass(frozen=True)
class Params(BiasParams):
    """γ, its spelling, and the treatment of biases."""

    gamma: float = param(0.8, "float", "γ in the given form", low=0)
    form: str = param("damp_negative", "str", FORM_TEXT, choices=FORMS)


METHOD = lrp_method("lrp_gamma", __doc__, Params, lambda p: everywhere("lrp_gamma", gamma=p.gamma, form=p.form))
