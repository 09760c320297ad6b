"""attn_lrp: LRP through attention: products share relevance evenly, Softmax and normalisations have rules of their own.

Computes: lrp_epsilon at linear layers and sums; half each to the factors of a product of activations (with ε),
    R_i = x_i (R_i − s_i Σ_j R_j) at Softmax, the divisor of LayerNorm, RMSNorm and x/‖x‖ held constant, activations passed.
Output: Signed, the input's shape, in units of S; sums to S less what biases and ε absorb and Softmax adds or takes.
Needs: A Softmax, a normalisation or a product of activations between input and target; else lrp_epsilon says the same. Recurrent
    layers are refused. For token ids explain the value after the embedding.
Cost: One forward and one backward pass.
Properties: Conserved where there are no biases and no Softmax; `residual` reports what is not.
Limits: Not conserved at Softmax, by the paper's rule. Constants that are added (positions, the class token, masks) are biases.
    With bias=ignored LayerNorm has y − β as denominator, which may be 0 where y is not: large values of both signs. So has an
    activation with f(0) ≠ 0 (Sigmoid). On vision transformers the paper adds γ-rules against noise, tuned for each model: there
    are none here.
Source: Achtibat et al. 2024, arXiv:2402.05602, Propositions 3.1 to 3.4.
Differs: Equal to lxt.explicit as ε → 0. Its ε has no sign, and is 1e-6 or 1e-8 by operator; ours is 1e-9 everywhere,
    lxt.efficient has none. A factor whose input is not explained is a constant: it takes no half.
"""

from __future__ import annotations

from explainsvc.methods._lrp_attention import attention_method
from explainsvc.rules.lrp_attention_rulebooks import attn_lrp

METHOD = attention_method("attn_lrp", __doc__, attn_lrp)
