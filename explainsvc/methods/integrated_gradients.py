"""integrated_gradients: The gradient, averaged along the straight line from a baseline to the input.

Computes: (x − x′) ⊙ ∫₀¹ ∂S(x′ + α(x − x′))/∂x dα by a quadrature rule; the mean of it over the rows x′ of `background`.
Output: Signed, the input's shape, in units of S; sums to S(x) − S(x′) up to the reported residual (the mean over rows).
Needs: A differentiable path of float values from the input to the target; a baseline x′, or several, that means "absent".
Cost: `steps` forward and backward passes a baseline, stacked in batches; twice as many each time `tolerance` is missed.
Properties: Completeness, sensitivity, implementation invariance, linearity.
Limits: Depends on the baseline: what equals it gets zero.
Source: Sundararajan, Taly, Yan 2017, arXiv:1703.01365, equations 1 and 3.
Differs: Gauss–Legendre by default (the paper: right Riemann sum); trapezoid is the real one (PAIR's endpoint mean is not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.axioms import exactly, up_to_residual
from explainsvc.cards import param, read_card
from explainsvc.coalitions import background_rows
from explainsvc.method import Method, Request, Result
from explainsvc.methods._path import mean_value, straight_lines, typed
from explainsvc.variations import target_values

MAX_STEPS = 3200
"""Where `tolerance` gives up doubling."""


@dataclass(frozen=True)
class Params:
    """Baseline and quadrature."""

    steps: int = param(50, "int", "points of the quadrature", low=1, high=10_000)
    baseline: Any = param(0.0, "value", "x′: a number, an array, zero, mean, blur, or {input: any of these}")
    background: Any = param(None, "value", "several x′ in place of one: rows [rows, *item shape], or {input: rows}")
    rule: str = param(
        "gauss_legendre", "str", "quadrature rule", choices=("gauss_legendre", "midpoint", "trapezoid", "left", "right")
    )
    tolerance: float = param(0.0, "float", "double the steps until |residual| ≤ tolerance·|S(x) − S(x′)|; 0: never", low=0)
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Integrates; doubles the steps while the residual is over the tolerance."""
    rows = background_rows(p.background, p.baseline, request)
    at_baseline = mean_value(request, rows, p.batch_size)
    gap = target_values(request) - at_baseline
    steps = p.steps
    while True:
        values = straight_lines(request, rows, p.rule, steps, p.batch_size, "integrated_gradients")
        residual = request.excess(values, gap)
        met = np.all(np.abs(residual) <= p.tolerance * np.abs(gap if len(residual) == len(gap) else gap.sum()))
        if p.tolerance == 0 or steps >= MAX_STEPS or met:
            break
        steps *= 2
    missed = p.tolerance > 0 and not met
    caveats = (f"tolerance {p.tolerance:g} was not met with {steps} steps",) if missed else ()
    return Result(typed(values, request), at_baseline, residual, caveats, {"steps": steps})


CLAIMS = up_to_residual("completeness") | exactly("dummy", "symmetry", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("integrated_gradients", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="sampling"
)
