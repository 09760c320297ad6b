"""cp_lrp: Conservative propagation: LRP with attention weights, gates and the divisors of normalisations held constant.

Computes: lrp_epsilon with some factors taken as constants: the Softmax in products with values (no relevance to queries and keys), the divisor of LayerNorm and RMSNorm, the activation of a gated layer, the gates of LSTM and GRU. Activations pass.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: A Softmax, a normalisation, a gate or a recurrent layer between input and target; else lrp_epsilon says the same. For token ids explain the value after the embedding.
Cost: One forward and one backward pass.
Properties: Conserved but for biases and ε; `residual` reports what was absorbed.
Limits: Blind to what only decides where attention looks or what a cell keeps: an input that leads to queries, keys or gates alone gets nothing. A product of two activations without a gate is refused.
Source: Ali, Schnake, Eberle, Montavon, Müller, Wolf 2022, arXiv:2202.07304, section 4; recurrent layers: Arras, Montavon, Müller, Samek 2017, arXiv:1706.07206, section 3.1 (LRP-all).
Differs: Gated layers are not in the paper; the activated factor is the gate, as in lxt. Mean and shift of LayerNorm are linear, as in lxt.
"""  # noqa: E501

from __future__ import annotations

from explainsvc.methods._lrp_attention import attention_method
from explainsvc.rules.lrp_attention_rulebooks import cp_lrp

METHOD = attention_method("cp_lrp", __doc__, cp_lrp)
