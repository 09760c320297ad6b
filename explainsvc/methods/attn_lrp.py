"""attn_lrp: LRP through attention: products share relevance evenly, Softmax and normalisations have rules of their own.

Computes: lrp_epsilon at linear layers and sums; half each to the factors of a product of activations (with ε), R_i = x_i (R_i − s_i Σ_j R_j) at Softmax, the divisor of LayerNorm and RMSNorm held constant, activations passed.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb and Softmax adds or takes.
Needs: A Softmax, a normalisation or a product of activations between input and target; else lrp_epsilon says the same. For token ids explain the value after the embedding.
Cost: One forward and one backward pass.
Properties: Conserved where there are no biases and no Softmax; `residual` reports what is not.
Limits: Not conserved at Softmax, by the paper's rule. An activation function with f(0) ≠ 0 (Sigmoid) blows up relevance near 0. On vision transformers the paper adds a γ-rule against noise, tuned for each model: not offered here.
Source: Achtibat et al. 2024, arXiv:2402.05602, Propositions 3.1 to 3.4.
Differs: Stabilised by ε sign z with ε = 1e-9 everywhere (lxt.explicit: +ε, of 1e-6 or 1e-8 by operator; lxt.efficient: none). A factor whose input is not explained is a constant.
"""  # noqa: E501

from __future__ import annotations

from explainsvc.methods._lrp_attention import attention_method
from explainsvc.rules.lrp_attention_rulebooks import attn_lrp

METHOD = attention_method("attn_lrp", __doc__, attn_lrp)
