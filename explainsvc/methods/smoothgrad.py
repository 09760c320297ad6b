"""smoothgrad: The mean of the explanations of noisy copies of the input.

Computes: mean_n E(x + g_n), g ~ N(0, σ²).
Output: Signed, the input's shape, in the units of the base method.
Needs: What the base method needs.
Cost: `samples` explanations by the base method, stacked in batches.
Properties: Reproducible: all noise comes from the request's seed.
Limits: The noise leaves the data distribution; fewer samples leave noise in the map. A base that draws numbers itself draws
  the same ones for every copy.
Source: Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, arXiv:1706.03825, section 3.1.
Differs: σ is relative to the input's range per item, as in the paper (captum's stdevs is absolute); wraps any base method.
"""

from __future__ import annotations

from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._moments import telling
from explainsvc.methods._noise import NoiseParams, base_method, noisy_explanations
from explainsvc.methods._path import typed


def run(request: Request, p: NoiseParams) -> Result:
    """mean_n E(x + g_n), g ~ N(0, σ²)."""
    told = telling(request, p.samples, lambda arrays: typed(arrays, request))
    noisy = noisy_explanations(request, p, "smoothgrad", told)
    return Result(typed(noisy.mean, request), caveats=noisy.caveats)


CLAIMS = up_to_sampling("symmetry") | exactly("dummy", "linearity", "implementation_invariance")
METHOD = Method(read_card("smoothgrad", __doc__, NoiseParams, CLAIMS), NoiseParams, run=run, inner=base_method, family="sampling")
