"""lrp_z_plus: Relevance shared among inputs in proportion to their positive contributions only.

Computes: R_i = Σ_j (a_i w_ij)⁺ / Σ_i (a_i w_ij)⁺ R_j (α1β0) at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: One forward, one more forward and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Non-negative where the target's relevance is; insensitive to upper layers on deep networks.
Source: Bach et al. 2015, PLOS ONE 10(7) e0130140, equation 60 with α=1, β=0; Montavon et al. 2017, arXiv:1512.02479.
Differs: Signs split on activations and weights; captum's clamps weights only.
"""

from __future__ import annotations

from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere

METHOD = lrp_method("lrp_z_plus", __doc__, BiasParams, lambda _: everywhere("lrp_z_plus"))
