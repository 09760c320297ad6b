"""input_x_gradient: Each input element times the target's derivative with respect to it.

Computes: x ⊙ ∂S/∂x.
Output: Signed, the input's shape, in units of S.
Needs: A differentiable path of float values from the input to the target.
Cost: One forward and one backward pass.
Properties: Sums to S for ReLU networks without biases, where it equals LRP-0.
Limits: Zero wherever the input is zero; depends on the input's origin (mean-shift).
Source: Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713, section 3.
Differs: No difference from the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainsvc.autograd import Term
from explainsvc.axioms import exactly
from explainsvc.cards import read_card
from explainsvc.explained import Builder
from explainsvc.method import Method


@dataclass(frozen=True)
class Params:
    """None."""


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """x ⊙ ∂S/∂x."""
    return {name: b.wanted[name] * gradient for name, gradient in b.backward().items()}


CLAIMS = exactly("dummy", "symmetry", "linearity", "implementation_invariance")
METHOD = Method(read_card("input_x_gradient", __doc__, Params, CLAIMS), Params, program=program)
