"""cp_lrp: Conservative propagation: LRP with attention weights, gates and the divisors of normalisations held constant.

Computes: lrp_epsilon with some factors taken as constants: the Softmax in products with values (no relevance to queries and
    keys), the divisor of LayerNorm, RMSNorm and x/‖x‖, the gates of LSTM and GRU and of products (a sigmoid, else the one
    factor that is an activation). Activations pass.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb.
Needs: A Softmax, a normalisation, a gate or a recurrent layer between input and target; else lrp_epsilon says the same. For
    token ids explain the value after the embedding.
Cost: One forward and one backward pass.
Properties: Conserved but for biases and ε; `residual` reports what was absorbed.
Limits: Blind to what only decides where attention looks or what a cell keeps: an input that leads to queries, keys or gates
    alone gets nothing. A product of activations without a gate is refused. Constants that are added (positions, the class
    token) are biases. With bias=ignored LayerNorm has y − β as denominator: large values of both signs where it is near 0.
Source: Ali, Schnake, Eberle, Montavon, Müller, Wolf 2022, arXiv:2202.07304, section 4; recurrent layers: Arras, Montavon,
    Müller, Samek 2017, arXiv:1706.07206, section 3.1 (LRP-all).
Differs: Equal to lxt.explicit with constant attention weights as ε → 0. Gated layers are not in the paper of 2022; SwiGLU is
    treated as in lxt. Arras et al. 2017 share biases and an ε of 1e-3 among a layer's inputs; here both absorb.
"""

from __future__ import annotations

from explainsvc.methods._lrp_attention import attention_method
from explainsvc.rules.lrp_attention_rulebooks import cp_lrp

METHOD = attention_method("cp_lrp", __doc__, cp_lrp)
