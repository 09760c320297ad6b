"""deeplift_reveal_cancel: DeepLIFT in which positive and negative contributions to a neuron have multipliers of their own.

Computes: m Δx as deeplift does; at activations behind Conv, Gemm, MatMul, Add or Sub m⁺ = Δy⁺/Δx⁺ and m⁻ = Δy⁻/Δx⁻.
Output: Signed, the input's shape, in units of S; sums to S(x) − S(x′) up to the reported residual.
Needs: What deeplift needs.
Cost: That of deeplift, and four more products per layer (Δx⁺ forward, its multipliers back) and two more activations.
Properties: Completeness; contributions that cancel in a neuron are seen: min(a, b) is shared evenly.
Limits: Depends on the baseline; activations are evaluated at x′ + Δx⁺ and x′ + Δx⁻, where the network never is.
Source: Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685, sections 3.5.1 and 3.5.3.
Differs: Rescale elsewhere (nothing to cancel); convolutions too (authors' default: dense only); signs start anew at each layer.
"""

from __future__ import annotations

from explainsvc.methods._deeplift import deeplift_method
from explainsvc.rules.deeplift_reveal_cancel import deeplift_reveal_cancel_rulebook

METHOD = deeplift_method("deeplift_reveal_cancel", __doc__, deeplift_reveal_cancel_rulebook)
