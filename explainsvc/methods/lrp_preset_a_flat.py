"""lrp_preset_a_flat: LRP-PA: α1β0 at convolutions, ε = 0.1 at dense layers, flat at the first layer.

Computes: lrp_z_plus at Conv and ConvTranspose, lrp_epsilon at Gemm and MatMul, biases counted. Flat at the first layer.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two forward passes and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Blurred at the scale of the first layer's kernel.
Source: iNNvestigate's presets (Alber et al. 2019, JMLR 20(93)); Kohlbrenner et al. 2020, arXiv:1910.09840.
Differs: iNNvestigate's LRPSequentialPresetAFlat; sums and average pooling by shares. ε is 0.1, not 1e-6.
"""

from __future__ import annotations

from explainsvc.methods._lrp import PresetParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_plus, flat_first

METHOD = lrp_method("lrp_preset_a_flat", __doc__, PresetParams, lambda p: flat_first(epsilon_plus(p.epsilon)))
