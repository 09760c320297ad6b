"""lrp_flat: Relevance shared evenly among the inputs of a neuron.

Computes: R_i = Σ_j 1/(Σ_i 1) R_j at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what ε and added constants absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: About one forward and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Blind to weights and inputs of linear layers: meant for the first layer.
Source: Lapuschkin et al. 2019, arXiv:1902.10178, supplementary methods.
Differs: Equal to zennit's Flat at every layer. `bias` is about constants that an Add brings in.
"""

from __future__ import annotations

from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere

METHOD = lrp_method("lrp_flat", __doc__, BiasParams, lambda _: everywhere("lrp_flat"))
