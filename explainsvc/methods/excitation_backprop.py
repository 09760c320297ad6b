"""excitation_backprop: The probability that a winner-take-all walk from the target ends at an input.

Computes: P(i) = Σ_j (a_i w_ij)⁺ / Σ_i (a_i w_ij)⁺ P(j) at every linear layer, P = 1 at the target; z-rule at sums.
Output: The input's shape, a probability: with biases ignored it sums to 1 (to the sum of the seed).
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two forward passes and one backward pass.
Properties: Independent of the size of S; non-negative for a single target, but for residual sums of operands of both signs.
Limits: Insensitive to upper layers on deep networks, as z⁺; two classes are told apart only by the last layers.
Source: Zhang, Lin, Brandt, Shen, Sclaroff 2016, arXiv:1608.00507, equation 2.
Differs: The paper counts no biases, zennit's ExcitationBackprop b⁺ (bias="counted"). Inputs of either sign: a⁺w⁺ + a⁻w⁻.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainsvc.cards import param
from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import excitation_backprop
from explainsvc.rules.lrp_table import BIAS


@dataclass(frozen=True)
class Params(BiasParams):
    """The treatment of biases."""

    bias: str = param("ignored", "str", "whether the positive part of a bias takes its share", choices=BIAS)


METHOD = lrp_method("excitation_backprop", __doc__, Params, lambda _: excitation_backprop(), complete="")
