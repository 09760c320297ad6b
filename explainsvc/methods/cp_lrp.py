"""cp_lrp: Conservative propagation: LRP with attention weights and the divisors of normalisations held constant.

Computes: lrp_epsilon with three factors taken as constants: the Softmax in products with values (no relevance to queries and keys), the divisor of LayerNorm and RMSNorm, the activation of a gated layer. Activations pass.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: A Softmax, a normalisation or a gate between input and target; else lrp_epsilon says the same. For token ids explain the value after the embedding.
Cost: One forward and one backward pass.
Properties: Conserved but for biases and ε; `residual` reports what was absorbed.
Limits: Blind to what only decides where attention looks: an input that leads to queries and keys alone gets nothing.
Source: Ali, Schnake, Eberle, Montavon, Müller, Wolf 2022, arXiv:2202.07304, section 4.
Differs: Gated layers are not in the paper; the activated factor is the gate, as in lxt. Mean and shift of LayerNorm are linear, as in lxt.
"""  # noqa: E501

from __future__ import annotations

from explainsvc.methods._lrp_attention import attention_method
from explainsvc.rules.lrp_attention_rulebooks import cp_lrp

METHOD = attention_method("cp_lrp", __doc__, cp_lrp)
