"""vargrad: The variance of the explanations of noisy copies of the input.

Computes: Var_n E(x + g_n), g ~ N(0, σ²), divided by n.
Output: Non-negative, the input's shape, in the units of the base method, squared.
Needs: What the base method needs.
Cost: `samples` explanations by the base method, stacked in batches.
Properties: Reproducible: all noise comes from the request's seed.
Limits: The noise leaves the data distribution; fewer samples leave noise in the map. A base that draws numbers itself draws
  the same ones for every copy.
Source: Adebayo, Gilmer, Goodfellow, Kim 2018, arXiv:1810.03307, section 2.2 (VarGrad).
Differs: σ is relative to the input's range per item, as in the paper (captum's stdevs is absolute); wraps any base method.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._noise import NoiseParams, base_method, noisy_explanations
from explainsvc.methods._path import typed


@dataclass(frozen=True)
class Params(NoiseParams):
    """Noise and base method."""

    samples: int = param(25, "int", "noisy copies", low=2, high=100_000)


def run(request: Request, p: Params) -> Result:
    """Var_n E(x + g_n), g ~ N(0, σ²), divided by n."""
    noisy = noisy_explanations(request, p, "vargrad")
    return Result(typed(noisy.variance, request), caveats=noisy.caveats)


CLAIMS = up_to_sampling("symmetry") | exactly("dummy", "implementation_invariance")
METHOD = Method(read_card("vargrad", __doc__, Params, CLAIMS), Params, run=run, inner=base_method, family="sampling")
