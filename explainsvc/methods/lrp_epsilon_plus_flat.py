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

from explainsvc.methods._lrp import EpsilonParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_plus, flat_first

METHOD = lrp_method("lrp_epsilon_plus_flat", __doc__, EpsilonParams, lambda p: flat_first(epsilon_plus(p.epsilon)))
