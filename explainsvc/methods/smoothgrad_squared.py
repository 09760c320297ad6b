"""smoothgrad_squared: The mean of the squared explanations of noisy copies of the input.

Computes: mean_n E(x + g_n)², g ~ N(0, σ²).
Output: Non-negative, the input's shape, in the units of the base method, squared.
Needs: What the base method needs.
Cost: `samples` explanations by the base method, stacked in batches.
Properties: Reproducible: all noise comes from the request's seed.
Limits: The noise leaves the data distribution; fewer samples leave noise in the map. A base that draws numbers itself draws
  the same ones for every copy.
Source: Hooker, Erhan, Kindermans, Kim 2019, arXiv:1806.10758, section 3.2 (SmoothGrad²).
Differs: σ is relative to the input's range per item, as in the paper (captum's stdevs is absolute); wraps any base method.
"""

from __future__ import annotations

from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._noise import NoiseParams, base_method, noisy_explanations
from explainsvc.methods._path import typed


def run(request: Request, p: NoiseParams) -> Result:
    """mean_n E(x + g_n)², g ~ N(0, σ²), as Var + mean²."""
    noisy = noisy_explanations(request, p, "smoothgrad_squared")
    return Result(typed({n: v + noisy.mean[n] ** 2 for n, v in noisy.variance.items()}, request), caveats=noisy.caveats)


CLAIMS = up_to_sampling("symmetry") | exactly("dummy", "implementation_invariance")
METHOD = Method(
    read_card("smoothgrad_squared", __doc__, NoiseParams, CLAIMS), NoiseParams, run=run, inner=base_method, family="sampling"
)
