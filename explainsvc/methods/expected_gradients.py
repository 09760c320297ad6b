"""expected_gradients: Integrated gradients over a distribution of baselines, by sampling; GradientSHAP.

Computes: E[(x − x′) ⊙ ∂S(x′ + α(x − x′))/∂x] over rows x′ of the background data and α ~ U(0, 1).
Output: Signed, the input's shape, in units of S; sums to S(x) − mean S(x′) up to the reported residual.
Needs: A differentiable path of float values from the input to the target; background data.
Cost: `samples` forward and backward passes stacked in batches, and one forward a row.
Properties: Completeness in expectation; approximates SHAP values where features are independent and S is nearly linear.
Limits: A sampling error, given as `standard_error` (per input its largest) and `residual_standard_error` (per item).
Source: Erion, Janizek, Sturmfels, Lundberg, Lee 2021, arXiv:1906.10670 (expected gradients); Lundberg, Lee 2017,
  arXiv:1705.07874 (SHAP values).
Differs: The items of a batch share draws of row and α, so that an item gets the same alone. σ of `noise` is relative to the
  input's range (captum's GradientShap: absolute); 200 samples as shap's GradientExplainer draws (captum: 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_residual
from explainsvc.cards import param, read_card
from explainsvc.coalitions import background_rows
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.method import Method, Request, Result
from explainsvc.methods._moments import moments, standard_error, telling
from explainsvc.methods._noise import value_range
from explainsvc.methods._path import Step, along, differences, mean_value, typed
from explainsvc.variations import target_values


@dataclass(frozen=True)
class Params:
    """Background data and samples."""

    background: Any = param(None, "value", "required: rows [rows, *item shape] that x′ is drawn from, or {input: rows}")
    samples: int = param(200, "int", "draws of row and α", low=2, high=1_000_000)
    noise: float = param(0.0, "float", "σ of noise on the input, relative to its range (max − min)", low=0)
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """The mean of the samples, and how far it may be off."""
    rows = _rows(request, p)
    at_rows = mean_value(request, rows, p.batch_size)
    gap = target_values(request) - at_rows
    sums: list[Array] = []

    def samples() -> Iterator[dict[str, Array]]:
        for term in along(request, _draws(request, rows, p), p.batch_size):
            sums.append(request.excess(term, np.zeros_like(gap)))
            request.progress(len(sums), p.samples, "expected_gradients")
            yield term

    mean, variance = moments(samples(), telling(request, p.samples, lambda arrays: typed(arrays, request)))
    errors = {
        "standard_error": {n: standard_error(v, p.samples).max(initial=0.0) for n, v in variance.items()},
        "residual_standard_error": standard_error(np.var(sums, axis=0), p.samples),
    }
    return Result(typed(mean, request), at_rows, request.excess(mean, gap), parameters=errors)


def _rows(request: Request, p: Params) -> list[dict[str, Array]]:
    if p.background is None:
        raise InvalidParameter(
            "expected_gradients needs background data",
            violations=[Violation("parameters.background", "is missing; x′ is drawn from its rows")],
            expected="an array [rows, *item shape], or {input: such an array}",
            to_do="Give rows of the data the model was trained on, or use integrated_gradients with one baseline",
        )
    return background_rows(p.background, 0.0, request)


def _draws(request: Request, rows: Sequence[Mapping[str, Array]], p: Params) -> Iterator[Step]:
    """(x′ + α(x − x′), x − x′) for every sample; x carries noise where that is asked for."""
    rng = np.random.default_rng(request.seed)
    spread = {n: p.noise * value_range(request, n) for n in request.wanted}
    for _ in range(p.samples):
        row, alpha = rows[int(rng.integers(len(rows)))], rng.uniform()
        noisy = {n: x + spread[n] * rng.standard_normal(x.shape) if p.noise > 0 else x for n, x in _wanted(request).items()}
        gap = differences(noisy, row, request.wanted)
        yield {n: row[n] + alpha * gap[n] for n in gap}, gap


def _wanted(request: Request) -> dict[str, Array]:
    return {n: request.feeds[n] for n in request.wanted}


CLAIMS = up_to_residual("completeness") | exactly("dummy", "symmetry", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("expected_gradients", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="sampling"
)
