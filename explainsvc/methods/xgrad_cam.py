"""xgrad_cam: Grad-CAM whose weights are averaged where the activation is.

Computes: L = (Σ_k α_k A_k)⁺ with α_k = Σ_ij (A_kij / Σ_ab A_kab) ∂S/∂A_kij, upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
Cost: One forward and a backward pass down to the layer.
Properties: Before upsampling and ReLU the map sums to Σ A ⊙ ∂S/∂A: conservation, as far as S is linear in the layer.
Limits: As coarse as the layer. Where positive and negative activations of a channel nearly cancel, its weight grows without
    bound; a channel that sums to 0 gets weight 0.
Source: Fu, Hu, Dong, Guo, Gao, Li 2020, arXiv:2008.02312, section 3, its final weights; target before the final Softmax.
Differs: pytorch-grad-cam adds 1e-7 to the denominator; here nothing is added.
"""

from __future__ import annotations

from explainsvc.autograd import Term
from explainsvc.explained import Builder
from explainsvc.methods._cam import Layer, MapParams, activation_and_gradient, cam_method, over_positions, weighted


def heat(b: Builder, layer: Layer, p: MapParams) -> Term:
    """(Σ_k α_k A_k)⁺."""
    e, axes = b.emit, over_positions(layer)
    a, gradient = activation_and_gradient(b, layer)
    total = e.sum(a, axes)
    empty = total.equals(0.0)
    alpha = e.where(empty, 0.0, e.sum(a * gradient, axes) / e.where(empty, 1.0, total))
    return weighted(b, alpha, a, p.relu)


METHOD = cam_method("xgrad_cam", __doc__, MapParams, heat)
