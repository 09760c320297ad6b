"""guided_grad_cam: Guided backpropagation, weighted by the positions that Grad-CAM finds.

Computes: Upsampled Grad-CAM ⊙ guided backpropagation.
Output: Signed, the input's shape; no physical unit.
Needs: What grad_cam and guided_backprop need.
Cost: One forward and two backward passes.
Properties: Class-discriminative and fine-grained.
Limits: The fine structure is guided backpropagation's: largely invariant to the weights (Adebayo et al. 2018).
Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3.3.
Differs: No difference from the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Rulebook, Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.methods._cam import cam_layer, grad_cam_map, to_input_size
from explainsvc.rules.guided import at_rectifiers, guided_relu, require_rectifiers


@dataclass(frozen=True)
class Params:
    """The layer of Grad-CAM."""

    layer: str = param("", "str", "name of the tapped value; empty: the last one with spatial extent")


def rulebook(b: Builder, p: Params) -> Rulebook:
    """The paper's rule at rectifiers."""
    return at_rectifiers(guided_relu, "guided_grad_cam")


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Grad-CAM over the input ⊙ guided backpropagation."""
    require_rectifiers(b.path(), "guided_grad_cam")
    heat = grad_cam_map(b, cam_layer(b, p.layer, "guided_grad_cam"), relu=True)
    guided = b.backward(rulebook(b, p))
    return {name: to_input_size(b, heat, b.wanted[name]) * signal for name, signal in guided.items()}


METHOD = Method(
    read_card("guided_grad_cam", __doc__, Params),
    Params,
    program=program,
    rulebook=rulebook,
    from_logit=True,
    caveats=("the fine structure is guided backpropagation's, largely invariant to the weights (Adebayo et al. 2018)",),
)
