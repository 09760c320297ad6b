"""gradient: How much the target moves per unit of each input element.

Computes: ∂S/∂x by one backward pass through the ONNX graph.
Output: Signed, the input's shape, in units of S per unit of input.
Needs: A differentiable path of float values from the input to the target.
Cost: One forward and one backward pass.
Properties: Equal for graphs that compute the same function (implementation invariance).
Limits: Local; noisy on deep ReLU networks; zero where the target is saturated.
Source: Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034, section 3.
Differs: Signed, where captum's Saliency takes the absolute value by default; no maximum over colour channels.
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
    """∂S/∂x."""
    return b.backward()


CLAIMS = exactly("dummy", "symmetry", "linearity", "implementation_invariance")
METHOD = Method(read_card("gradient", __doc__, Params, CLAIMS), Params, program=program)
