"""deep_shap: DeepLIFT, averaged over rows of background data as baselines: an approximation of Shapley values.

Computes: The mean over the rows x′ of deeplift's m Δx.
Output: Signed, the input's shape, in units of S; sums to S(x) − mean S(x′) up to the reported residual.
Needs: Background data that stand for "absent" (one baseline where there are none); what deeplift needs of the model.
Cost: deeplift's per row and item, stacked in batches: two forward passes and one backward pass each.
Properties: Completeness; for linear models, products and maxima of two it gives the Shapley values of each row's game.
Limits: Elsewhere no Shapley values: multipliers are composed layer by layer. Depends on the background data.
Source: Lundberg, Lee 2017, arXiv:1705.07874, section 4.2 (Deep SHAP); rows as shap's DeepExplainer takes them.
Differs: shap treats Softmax, products and normalisations as if element by element, and warns; here their sums are complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.coalitions import background_rows
from explainsvc.features import result_type
from explainsvc.method import Method, Request, Result
from explainsvc.methods._deeplift import contributions, lifted, rulebook, summed
from explainsvc.methods._path import mean_value
from explainsvc.rules.deeplift_rulebook import deeplift_rulebook
from explainsvc.variations import per_variation, split_values, target_values


@dataclass(frozen=True)
class Params:
    """The rows."""

    background: Any = param(None, "value", "rows of background data [rows, …], or {input: rows}; none: the baseline alone")
    baseline: Any = param(0.0, "value", "the row where there is no background: a number, an array, zero, mean, blur")
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """The mean over the rows, accumulated in float64."""
    rows = background_rows(p.background, p.baseline, request)
    total = {n: np.zeros(request.feeds[n].shape) for n in request.wanted}
    for k, values in enumerate(per_variation(request, iter(rows), lambda r: _against(request, r), split_values, p.batch_size)):
        for name, array in values.items():
            total[name] += array
        request.progress(k + 1, len(rows), "deep_shap")
    values = {n: np.asarray(t / len(rows), result_type(request.feeds[n])) for n, t in total.items()}
    return summed(request, values, target_values(request), mean_value(request, rows, p.batch_size))


def _against(request: Request, stacked: Request) -> dict[str, Array]:
    """The items held against rows: ``stacked`` has rows in the place of the items, as many times as there are rows."""
    times = {n: len(stacked.feeds[n]) // max(len(x), 1) if x.ndim else 1 for n, x in request.feeds.items()}
    start = {n: stacked.feeds[n] for n in request.wanted}
    items = {n: np.concatenate([request.feeds[n]] * times[n]) if times[n] > 1 else request.feeds[n] for n in request.wanted}
    return lifted("deeplift", deeplift_rulebook, stacked.on(stacked.feeds | items), start)


CLAIMS = exactly("completeness", "linearity")
METHOD = Method(
    read_card("deep_shap", __doc__, Params, CLAIMS),
    Params,
    program=partial(contributions, deeplift_rulebook),
    run=run,
    rulebook=partial(rulebook, deeplift_rulebook),
    complete="difference",
    from_logit=True,
)
