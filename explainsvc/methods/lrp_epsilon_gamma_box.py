"""lrp_epsilon_gamma_box: z^B at the first convolution, γ at the others, ε at dense layers.

Computes: lrp_z_box at the first convolutions, lrp_gamma at the others, lrp_epsilon at dense layers, z-rule at sums.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Bounds `low` and `high` of the input as the model takes it (normalised); else as lrp_epsilon.
Cost: Three forward and two backward passes; more at layers whose input may be negative.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Bounds that the input exceeds turn signs around. A network without convolutions gets ε only.
Source: Montavon et al. 2019, LNCS 11700, section 10.3; Anders et al. 2021, arXiv:2106.13200 (zennit's EpsilonGammaBox).
Differs: γ as zennit writes it, w + γw⁺ with 0.25; lrp_gamma has the other form by default. Equal to zennit's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param
from explainsvc.methods._lrp import HIGH, LOW, EpsilonParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_gamma_box
from explainsvc.rules.lrp_table import FORM_TEXT, FORMS


@dataclass(frozen=True)
class Params(EpsilonParams):
    """Bounds of the input, γ, ε and the treatment of biases."""

    low: Any = param(None, "value", LOW)
    high: Any = param(None, "value", HIGH)
    gamma: float = param(0.25, "float", "γ in the given form", low=0)
    form: str = param("add_positive", "str", FORM_TEXT, choices=FORMS)


METHOD = lrp_method(
    "lrp_epsilon_gamma_box", __doc__, Params, lambda p: epsilon_gamma_box(p.low, p.high, p.epsilon, p.gamma, p.form)
)
