"""grad_cam: Which positions of a convolutional layer speak for the target.

Computes: L = (Σ_k α_k A_k)⁺ with α_k = mean over positions of ∂S/∂A_k, upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
Cost: One forward and a backward pass down to the layer.
Properties: Class-discriminative; passes the sanity checks of Adebayo et al. 2018.
Limits: As coarse as the layer. A map that is zero everywhere says so in a caveat.
Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2; target before the final Softmax.
Differs: The map is repeated over the input's channels, so that it has exactly the input's shape.
"""

from __future__ import annotations

from explainsvc.autograd import Term
from explainsvc.explained import Builder
from explainsvc.methods._cam import Layer, MapParams, cam_method, grad_cam_map


def heat(b: Builder, layer: Layer, p: MapParams) -> Term:
    """The Grad-CAM map over the layer's positions."""
    return grad_cam_map(b, layer, p.relu)


METHOD = cam_method("grad_cam", __doc__, MapParams, heat)
