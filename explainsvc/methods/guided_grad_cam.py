"""guided_grad_cam: Guided backpropagation, weighted by the positions that Grad-CAM finds.

Computes: Upsampled Grad-CAM ⊙ guided backpropagation.
Output: Signed, the input's shape; no physical unit.
Needs: What grad_cam and guided_backprop need: a layer with positions (by default grad_cam's), and ReLUs.
Cost: One forward and two backward passes.
Properties: Class-discriminative and fine-grained.
Limits: The fine structure is guided backpropagation's: largely invariant to the weights (Adebayo et al. 2018).
Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3.3.
Differs: No difference from the paper.
"""

from __future__ import annotations

from collections.abc import Mapping

from explainsvc.autograd import Rulebook, Term
from explainsvc.cards import read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.methods._cam import LayerParams as Params
from explainsvc.methods._cam import cam_layer, grad_cam_map, over_inputs, with_blank_maps_told
from explainsvc.rules.guided import at_rectifiers, guided_relu, require_rectifiers


def rulebook(b: Builder, p: Params) -> Rulebook:
    """The paper's rule at rectifiers."""
    return at_rectifiers(guided_relu, "guided_grad_cam")


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Grad-CAM over the input ⊙ guided backpropagation."""
    require_rectifiers(b.path(), "guided_grad_cam")
    layer = cam_layer(b, p.layer, "guided_grad_cam")
    heat = over_inputs(b, layer, grad_cam_map(b, layer, relu=True))
    guided = b.backward(rulebook(b, p))
    return {name: heat[name] * signal for name, signal in guided.items()}


METHOD = with_blank_maps_told(
    Method(
        read_card("guided_grad_cam", __doc__, Params),
        Params,
        program=program,
        rulebook=rulebook,
        from_logit=True,
        caveats=("the fine structure is guided backpropagation's, largely invariant to the weights (Adebayo et al. 2018)",),
    )
)
