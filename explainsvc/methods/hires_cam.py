"""hires_cam: Activation times gradient at every position of a layer, summed over channels.

Computes: L = Σ_k A_k ⊙ ∂S/∂A_k, upsampled linearly to the input's positions.
Output: Signed, the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
Cost: One forward and a backward pass down to the layer.
Properties: Before upsampling it sums to S less the bias where S is linear in the layer (proved there): faithful
    for networks of one dense layer after the layer, which grad_cam is not.
Limits: As coarse as the layer.
Source: Draelos, Carin 2020, arXiv:2011.08891, the definition of HiResCAM; target before the final Softmax.
Differs: No ReLU, as in the paper; pytorch-grad-cam cuts off the negative part.
"""

from __future__ import annotations

from explainsvc.autograd import Term
from explainsvc.explained import Builder
from explainsvc.methods._cam import Layer, LayerParams, activation_and_gradient, cam_method


def heat(b: Builder, layer: Layer, p: LayerParams) -> Term:
    """Σ_k A_k ⊙ ∂S/∂A_k."""
    a, gradient = activation_and_gradient(b, layer)
    return b.emit.sum(a * gradient, [1])


METHOD = cam_method("hires_cam", __doc__, LayerParams, heat)
