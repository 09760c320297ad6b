"""beta_smooth: The gradient, with the derivative of Softplus in place of that of ReLU.

Computes: The backward pass with R_in = R_out ⊙ σ(βz) at every ReLU, the vjp elsewhere.
Output: Signed, the input's shape, in units of S per unit of input.
Needs: ReLUs between input and target; other activations keep their gradient.
Cost: One forward and one backward pass.
Properties: Smoother in the input than the gradient; β → ∞ gives the gradient.
Limits: The forward pass keeps its ReLUs: a surrogate, not the derivative of any function.
Source: Dombrowski et al. 2019, arXiv:1906.07983, section 3.3.
Differs: The paper replaces ReLU forwards too; zennit's BetaSmooth, as here, backwards only (wrong for modules used twice).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.beta_smooth import smooth_relu


@dataclass(frozen=True)
class Params:
    """The sharpness."""

    beta: float = param(10.0, "float", "β of softplus, the larger the closer to ReLU", low=0)


def rulebook(b: Builder, p: Params) -> Rulebook:
    """The smooth derivative at ReLUs."""
    rule = smooth_relu(p.beta)

    def at(n: NodeView) -> Rule | None:
        return rule if n.op_type == "Relu" else None

    return at


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """The smoothed backward pass."""
    if not any(n.op_type == "Relu" for n in b.path()):
        raise MethodNotApplicable(
            "beta_smooth changes the gradient at ReLUs, and there is none between the input and the target",
            expected="a network with ReLUs", to_do="Use gradient or smoothgrad",
        )  # fmt: skip
    return b.backward(rulebook(b, p))


CLAIMS = exactly("linearity")
METHOD = Method(read_card("beta_smooth", __doc__, Params, CLAIMS), Params, program=program, rulebook=rulebook, from_logit=True)
