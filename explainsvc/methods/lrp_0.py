"""lrp_0: Relevance shared among inputs exactly in proportion to their contribution (LRP-Z).

Computes: R_i = Σ_j a_i w_ij / z_j R_j at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what biases absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: One forward and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Equals input × gradient for ReLU networks without biases (with them too where they count).
Explodes where contributions of both signs nearly cancel.
Source: Bach et al. 2015, PLOS ONE 10(7) e0130140, equation 56; Shrikumar et al. 2016, arXiv:1605.01713.
Differs: A neuron with z_j = 0 hands nothing on; iNNvestigate puts 1 in place of z_j, zennit's ε=0 divides by zero.
"""

from __future__ import annotations

from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere

METHOD = lrp_method("lrp_0", __doc__, BiasParams, lambda _: everywhere("lrp_0"))
