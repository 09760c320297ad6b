"""lrp_epsilon: Relevance shared among inputs in proportion to their contribution, small denominators damped.

Computes: R_i = Σ_j a_i w_ij / (z_j + ε sign z_j) R_j at every linear layer, z-rule at sums and average pooling.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: One forward and one backward pass.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: Equals input × gradient for ReLU networks without biases as ε → 0, and shares its noise.
Source: Bach, Binder, Montavon, Klauschen, Müller, Samek 2015, PLOS ONE 10(7) e0130140, equation 58.
Differs: ε is absolute (zennit's 1e-6); captum's default is 1e-9, iNNvestigate's 1e-7.
"""

from __future__ import annotations

from explainsvc.methods._lrp import EpsilonParams, lrp_method
from explainsvc.rules.lrp_presets import everywhere

METHOD = lrp_method("lrp_epsilon", __doc__, EpsilonParams, lambda p: everywhere("lrp_epsilon", epsilon=p.epsilon))
