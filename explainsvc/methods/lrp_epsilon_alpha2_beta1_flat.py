"""lrp_epsilon_alpha2_beta1_flat: α2β1 at convolutions, ε at dense layers, flat at the first layer.

Computes: lrp_alpha_beta with α=2, β=1 at convolutions, lrp_epsilon at dense layers. Flat at the first layer.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Three forward and two backward passes; more at layers whose input may be negative.
Properties: Conserved where every neuron has contributions of both signs; `residual` reports the rest.
Limits: Blurred at the scale of the first layer's kernel; sums can exceed S.
Source: Bach et al. 2015, PLOS ONE 10(7) e0130140, equations 58 and 60; Lapuschkin et al. 2019, arXiv:1902.10178.
Differs: Equal to zennit's EpsilonAlpha2Beta1Flat with its canonizers.
"""

from __future__ import annotations

from explainsvc.methods._lrp import EpsilonParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_alpha2_beta1, flat_first

METHOD = lrp_method(
    "lrp_epsilon_alpha2_beta1_flat", __doc__, EpsilonParams, lambda p: flat_first(epsilon_alpha2_beta1(p.epsilon))
)
