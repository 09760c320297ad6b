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

from explainsvc.methods._lrp import EpsilonParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_plus

METHOD = lrp_method("lrp_epsilon_plus", __doc__, EpsilonParams, lambda p: epsilon_plus(p.epsilon))
