"""lrp_z_box: z^B at the first layer, for inputs between known bounds; z⁺ at all others.

Computes: R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i (same) R_j at the first linear layers, lrp_z_plus elsewhere.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Bounds `low` and `high` of the input as the model takes it (normalised); else as lrp_z_plus.
Cost: Two forward and two backward passes; two more of each at the first layer.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Bounds that the input exceeds turn signs around. Between input and first layer: routing, sums and constant factors.
Source: Montavon, Lapuschkin, Binder, Samek, Müller 2017, arXiv:1512.02479, z^B-rule; z⁺-rule.
Differs: Bounds go through a normalisation inside the model. The first layer's bias cancels in the rule (zennit's ZBox too).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param
from explainsvc.methods._lrp import HIGH, LOW, BiasParams, lrp_method
from explainsvc.rules.lrp_presets import z_box


@dataclass(frozen=True)
class Params(BiasParams):
    """Bounds of the input, and the treatment of biases."""

    low: Any = param(None, "value", LOW)
    high: Any = param(None, "value", HIGH)


METHOD = lrp_method("lrp_z_box", __doc__, Params, lambda p: z_box(p.low, p.high))
