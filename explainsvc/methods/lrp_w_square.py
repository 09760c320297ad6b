"""lrp_w_square: Relevance shared in proportion to squared weights, whatever the input.

Computes: R_i = Σ_j w_ij² / (Σ_i w_ij²) R_j at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what ε and added constants absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: Two forward passes and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Blind to the input at linear layers: meant for the first layer of unbounded inputs.
Source: Montavon, Lapuschkin, Binder, Samek, Müller 2017, arXiv:1512.02479, w²-rule.
Differs: Biases of linear layers take no share; zennit's WSquare counts b². `bias` is about constants that an Add brings in.
"""

from __future__ import annotations

from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere

METHOD = lrp_method("lrp_w_square", __doc__, BiasParams, lambda _: everywhere("lrp_w_square"))
