"""layer_cam: Activation times positive gradient at every position of a layer, summed over channels.

Computes: L = (Σ_k (∂S/∂A_k)⁺ ⊙ A_k)⁺, upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
Cost: One forward and a backward pass down to the layer.
Properties: Fine-grained at shallow layers too, as weights are not averaged over positions.
Limits: As coarse as the layer. Not linear in the target: evidence against it is left out position by position.
Source: Jiang et al. 2021, IEEE TIP 30, doi:10.1109/TIP.2021.3089943, the map of one layer; target before the Softmax.
Differs: Maps of shallow layers are not rescaled by tanh, which the paper does when it fuses several layers.
"""

from __future__ import annotations

from explainsvc.autograd import Term
from explainsvc.explained import Builder
from explainsvc.methods._cam import Layer, MapParams, activation_and_gradient, cam_method, weighted


def heat(b: Builder, layer: Layer, p: MapParams) -> Term:
    """(Σ_k (∂S/∂A_k)⁺ ⊙ A_k)⁺."""
    a, gradient = activation_and_gradient(b, layer)
    return weighted(b, b.emit.op("Relu", gradient), a, p.relu)


METHOD = cam_method("layer_cam", __doc__, MapParams, heat)
