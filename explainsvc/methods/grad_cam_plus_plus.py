"""grad_cam_plus_plus: Grad-CAM that weighs every position by itself, so that several instances of a class count.

Computes: L = (Σ_k w_k A_k)⁺, w_k = Σ_ij α_kij (g_kij)⁺, α_kij = g²_kij / (2 g²_kij + Σ_ab A_kab g³_kij), g = ∂S/∂A, upsampled
    linearly to the input's positions. As (g)⁺ is 0 where g ≤ 0, w_k = Σ_ij g⁺ / (2 + Σ_ab A_kab g⁺), which is what is computed.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
Cost: One forward and a backward pass down to the layer.
Properties: Class-discriminative; covers several instances of a class better than grad_cam.
Limits: As coarse as the layer. Exact where S is piecewise linear in the layer: the second derivative of S is left out. Where
    Σ A is negative (layers before an activation, tokens) a weight has a pole at g = −2 / Σ A. Not linear in the seed.
Source: Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, arXiv:1710.11063, equations 7 and 19; target before the Softmax.
Differs: Without the paper's factor exp(S) of ∂exp(S)/∂A, one number for the whole map. pytorch-grad-cam adds 1e-6 to the
    denominator g² (2 + …), which cuts off every gradient below about 1e-3; here nothing is added.
"""

from __future__ import annotations

from explainsvc.autograd import Term
from explainsvc.explained import Builder
from explainsvc.methods._cam import Layer, MapParams, activation_and_gradient, cam_method, over_positions, weighted


def heat(b: Builder, layer: Layer, p: MapParams) -> Term:
    """(Σ_k w_k A_k)⁺; a weight at its pole is 0."""
    e, axes = b.emit, over_positions(layer)
    a, gradient = activation_and_gradient(b, layer)
    positive = e.op("Relu", gradient)
    denominator = e.sum(a, axes) * positive + 2.0
    pole = denominator.equals(0.0)
    terms = e.where(pole, 0.0, positive / e.where(pole, 1.0, denominator))
    return weighted(b, e.sum(terms, axes), a, p.relu)


METHOD = cam_method("grad_cam_plus_plus", __doc__, MapParams, heat)
