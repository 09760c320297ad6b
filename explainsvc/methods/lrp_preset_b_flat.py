"""lrp_preset_b_flat: LRP-PB: α2β1 at convolutions, ε = 0.1 at dense layers, flat at the first layer.

Computes: lrp_alpha_beta with α=2, β=1 at convolutions, lrp_epsilon at dense layers, biases counted. Flat at the first layer.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Three forward and two backward passes; more at layers whose input may be negative.
Properties: Conserved where every neuron has contributions of both signs; `residual` reports the rest.
Limits: Blurred at the scale of the first layer's kernel; sums can exceed S.
Source: iNNvestigate's presets (Alber et al. 2019, JMLR 20(93)); Kohlbrenner et al. 2020, arXiv:1910.09840.
Differs: iNNvestigate's LRPSequentialPresetBFlat; sums and average pooling by shares. ε is 0.1, not 1e-6.
"""

from __future__ import annotations

from explainsvc.methods._lrp import PresetParams, lrp_method
from explainsvc.rules.lrp_presets import epsilon_alpha2_beta1, flat_first

METHOD = lrp_method("lrp_preset_b_flat", __doc__, PresetParams, lambda p: flat_first(epsilon_alpha2_beta1(p.epsilon)))
