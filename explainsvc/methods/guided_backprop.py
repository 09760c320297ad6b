"""guided_backprop: The gradient, with only positive signals let back through ReLUs that were active.

Computes: The backward pass with R_in = R_out⁺ ⊙ 1[z > 0] at every ReLU (and ReLU6), the vjp elsewhere.
Output: Signed, the input's shape; no physical unit.
Needs: ReLUs between input and target. Other rectifier-like activations (LeakyReLU, GELU, SiLU …) are refused.
Cost: One forward and one backward pass.
Properties: Sharp pictures.
Limits: Largely invariant to the class and to the weights of the upper layers (Adebayo et al. 2018): it shows the input.
Source: Springenberg, Dosovitskiy, Brox, Riedmiller 2015, arXiv:1412.6806, figure 1; target before the final Softmax.
Differs: Sigmoid and Tanh pass by their gradient; activations that the paper does not treat raise an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Rulebook, Term
from explainsvc.cards import read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.guided import at_rectifiers, guided_relu, require_rectifiers


@dataclass(frozen=True)
class Params:
    """None."""


def rulebook(b: Builder, p: Params) -> Rulebook:
    """The paper's rule at rectifiers."""
    return at_rectifiers(guided_relu, "guided_backprop")


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """The guided backward pass."""
    require_rectifiers(b.path(), "guided_backprop")
    return b.backward(rulebook(b, p))


METHOD = Method(
    read_card("guided_backprop", __doc__, Params),
    Params,
    program=program,
    rulebook=rulebook,
    from_logit=True,
    caveats=("guided backpropagation is largely invariant to the class and to upper-layer weights (Adebayo et al. 2018)",),
)
