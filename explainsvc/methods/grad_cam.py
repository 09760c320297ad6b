"""grad_cam: Which positions of a convolutional layer speak for the target.

Computes: L = (Σ_k α_k A_k)⁺ with α_k = mean over positions of ∂S/∂A_k, upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with spatial extent between input and target; by default the last one before global pooling or flattening.
Cost: One forward and a backward pass down to the layer.
Properties: Class-discriminative; passes the sanity checks of Adebayo et al. 2018.
Limits: As coarse as the layer.
Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2; target before the final Softmax.
Differs: The map is repeated over the input's channels, so that it has exactly the input's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.methods._cam import cam_layer, grad_cam_map, to_input_size


@dataclass(frozen=True)
class Params:
    """The layer, and whether negative evidence is cut off."""

    layer: str = param("", "str", "name of the tapped value; empty: the last one with spatial extent")
    relu: bool = param(True, "bool", "keep only positive evidence")


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """The Grad-CAM map over every wanted input."""
    heat = grad_cam_map(b, cam_layer(b, p.layer, "grad_cam"), p.relu)
    return {name: to_input_size(b, heat, wanted) for name, wanted in b.wanted.items()}


METHOD = Method(read_card("grad_cam", __doc__, Params), Params, program=program, from_logit=True)
