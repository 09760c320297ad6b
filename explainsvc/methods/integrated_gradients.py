"""integrated_gradients: The gradient, averaged along the straight line from a baseline to the input.

Computes: (x − x′) ⊙ ∫₀¹ ∂S(x′ + α(x − x′))/∂x dα by a quadrature rule.
Output: Signed, the input's shape, in units of S; sums to S(x) − S(x′) up to the reported residual.
Needs: A differentiable path of float values from the input to the target; a baseline x′ that means "absent".
Cost: `steps` forward and backward passes, stacked in batches; twice as many each time `tolerance` is missed.
Properties: Completeness, sensitivity, implementation invariance, linearity.
Limits: Depends on the baseline: what equals it gets zero.
Source: Sundararajan, Taly, Yan 2017, arXiv:1703.01365, equation 1.
Differs: Gauss–Legendre by default (the paper: right Riemann sum); trapezoid is the real one (PAIR's endpoint mean is not).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.engine import gradients
from explainsvc.features import result_type
from explainsvc.method import Method, Request, Result
from explainsvc.variations import per_variation, split_values, target_values

MAX_STEPS = 3200
"""Where `tolerance` gives up doubling."""


@dataclass(frozen=True)
class Params:
    """Baseline and quadrature."""

    steps: int = param(50, "int", "points of the quadrature", low=1, high=10_000)
    baseline: Any = param(0.0, "value", "x′: a number, an array, zero, mean, blur, or {input: any of these}")
    rule: str = param(
        "gauss_legendre", "str", "quadrature rule", choices=("gauss_legendre", "midpoint", "trapezoid", "left", "right")
    )
    tolerance: float = param(0.0, "float", "double the steps until |residual| ≤ tolerance·|S(x) − S(x′)|; 0: never", low=0)
    batch_size: int = param(16, "int", "items per run", low=1)


def quadrature(rule: str, steps: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1]; the weights sum to 1."""
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if rule == "trapezoid":
        if steps == 1:
            return np.array([0.5]), np.array([1.0])
        ends = np.ones(steps)
        ends[[0, -1]] = 0.5
        return np.linspace(0, 1, steps), ends / (steps - 1)
    offset = {"midpoint": 0.5, "left": 0.0, "right": 1.0}[rule]
    return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)


def run(request: Request, p: Params) -> Result:
    """Integrates; doubles the steps while the residual is over the tolerance."""
    start = baselines(p.baseline, request.feeds, request.wanted)
    difference = {n: request.feeds[n].astype(np.float64) - start[n].astype(np.float64) for n in request.wanted}
    at_baseline = target_values(request.on(request.feeds | start))
    gap = target_values(request) - at_baseline
    steps = p.steps
    while True:
        values = integrate(request, p, steps, start, difference)
        residual = request.excess(values, gap)
        met = np.all(np.abs(residual) <= p.tolerance * np.abs(gap if len(residual) == len(gap) else gap.sum()))
        if p.tolerance == 0 or steps >= MAX_STEPS or met:
            break
        steps *= 2
    typed = {n: v.astype(result_type(request.feeds[n])) for n, v in values.items()}
    missed = p.tolerance > 0 and not met
    caveats = (f"tolerance {p.tolerance:g} was not met with {steps} steps",) if missed else ()
    return Result(typed, at_baseline, residual, caveats, {"steps": steps})


def integrate(request: Request, p: Params, steps: int, start: dict[str, Array], difference: dict[str, Array]) -> dict[str, Array]:
    """(x − x′) ⊙ Σ_k w_k ∂S(x′ + α_k (x − x′)), accumulated in float64."""
    nodes, weights = quadrature(p.rule, steps)

    def points() -> Iterator[dict[str, Array]]:
        for alpha in nodes:
            yield {n: np.asarray(start[n] + alpha * difference[n], request.feeds[n].dtype) for n in request.wanted}

    total = {n: np.zeros(difference[n].shape) for n in request.wanted}
    along = per_variation(request, points(), gradients, split_values, p.batch_size)
    for k, (weight, gradient) in enumerate(zip(weights, along, strict=True)):
        for name in request.wanted:
            total[name] += weight * gradient[name]
        request.progress(k + 1, steps, "integrated_gradients")
    return {n: np.asarray(difference[n] * total[n]) for n in request.wanted}


METHOD = Method(read_card("integrated_gradients", __doc__, Params), Params, run=run, complete="difference", family="sampling")
