"""eigen_cam: The strongest pattern in a layer's activations, whatever the target.

Computes: The activation as a matrix O [positions, channels] = U Σ Vᵀ, projected on its first right singular vector: L = O v₁,
    upsampled linearly to the input's positions. With center=true every channel's mean is subtracted before (PCA).
Output: In units of the layer's activation, the input's shape, the same value in every channel. The sign of v₁ is arbitrary; it
    is set so that the entry of L that is largest in magnitude is positive (the first of several).
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
    No gradient.
Cost: One forward, and a singular value decomposition per item.
Properties: Non-negative where the activations are (Perron–Frobenius), unless centred. Needs no class and no gradient.
Limits: The same map for every target. Where the two largest singular values are equal there is no first vector.
Source: Muhammad, Yeasin 2020, arXiv:2008.00299, section III: L_Eigen-CAM = O V₁.
Differs: pytorch-grad-cam centres the channels, which the paper does not, and cuts off what is negative with whatever sign the
    decomposition came out with; center=true is its map up to sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._cam import LayerParams, told
from explainsvc.methods._cam_arrays import activation, in_front, laid_over_inputs, read_layer, requires_layer


@dataclass(frozen=True)
class Params(LayerParams):
    """The layer, and whether channels are centred."""

    center: bool = param(False, "bool", "subtract every channel's mean over the positions first")


def run(request: Request, p: Params) -> Result:
    """The projection of every item's activation."""
    layer = read_layer(request, p.layer, "eigen_cam")
    items = in_front(request, layer, activation(request, layer))
    heat = np.stack([principal(item, p.center) for item in items])
    return told(request, laid_over_inputs(request, layer, heat), layer)


def principal(item: Array, center: bool) -> Array:
    """[channels, positions…] projected on its first right singular vector, its largest entry positive; [positions…]."""
    matrix = item.reshape(len(item), -1).T
    if center:
        matrix = matrix - matrix.mean(axis=0)
    projection = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
    sign = -1.0 if projection[np.abs(projection).argmax()] < 0 else 1.0
    return np.asarray(sign * projection.reshape(item.shape[1:]))


METHOD = Method(
    read_card("eigen_cam", __doc__, Params),
    Params,
    run=run,
    caveats=("the map is the same for every target",),
    requires=requires_layer("eigen_cam"),
)
