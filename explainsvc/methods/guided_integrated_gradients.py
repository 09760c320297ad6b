"""guided_integrated_gradients: The gradient integrated along a path that first moves what the target is least sensitive to.

Computes: Σ_k (x_{k+1} − x_k) ⊙ ∂S(x_k)/∂x along an adaptive path from x′ to x: every step takes ‖x − x_k‖₁ down by 1/steps,
  moving the `fraction` of elements with the smallest |∂S/∂x|, none further than `max_dist` from the straight line (as α).
Output: Signed, the input's shape, in units of S; sums to S(x) − S(x′) up to the reported residual.
Needs: A differentiable path of float values from the input to the target; a baseline x′ that means "absent".
Cost: `steps` forward and backward passes one after the other (the items of a batch together).
Properties: Completeness in the limit of many steps; less noise from saturated directions than integrated_gradients.
Limits: Depends on the baseline. The gradient that chooses a step is also the one that is integrated, which is then small: on deep
  ReLU networks the residual can be as large as S with hundreds of steps (PAIR's code has the same, and does not report it).
Source: Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi 2021, arXiv:2106.09788, algorithm 1, with the
  bound on the distance from the straight line.
Differs: A tenth of the elements moves at a time (PAIR's code: fraction 0.25); several inputs share one path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_residual
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.engine import gradients
from explainsvc.method import Method, Request, Result
from explainsvc.methods._path import require_finite, typed
from explainsvc.variations import target_values

CLOSE = 1e-9
"""Distance to go, relative to the whole distance, at which a step is done (PAIR's EPSILON)."""


@dataclass(frozen=True)
class Params:
    """The path."""

    steps: int = param(200, "int", "steps from the baseline to the input", low=1, high=10_000)
    baseline: Any = param(0.0, "value", "x′: a number, an array, zero, mean, blur, or {input: any of these}")
    fraction: float = param(0.1, "float", "share of the elements that moves at once", low=0, high=1)
    max_dist: float = param(
        0.02, "float", "how far α of an element may differ from the step's; 0: a straight line", low=0, high=1
    )


def run(request: Request, p: Params) -> Result:
    """Walks from the baseline to the input; every item has a path of its own."""
    base = baselines(p.baseline, request.feeds, request.wanted)
    start, end = flat(request, base), flat(request, request.feeds)
    x, total = start.copy(), np.zeros_like(start)
    for k in range(p.steps):
        here = typed(shaped(request, x), request)
        slopes = gradients(request.on(request.feeds | here))
        require_finite(slopes)
        slope = flat(request, slopes)
        moved = np.stack([advance(*row, (k + 1) / p.steps, p) for row in zip(x, slope, start, end, strict=True)])
        total += (moved - x) * slope
        x = moved
        request.progress(k + 1, p.steps, "guided_integrated_gradients")
    at_baseline = target_values(request.on(request.feeds | base))
    values = shaped(request, total)
    residual = request.excess(values, target_values(request) - at_baseline)
    return Result(typed(values, request), at_baseline, residual)


def advance(x: Array, slope: Array, start: Array, end: Array, alpha: float, p: Params) -> Array:
    """One step of one item: moves elements, the least sensitive first, until ‖end − x‖₁ = (1 − α)‖end − start‖₁.

    Args:
        x: Where the path is, float64 [elements].
        slope: ∂S/∂x there.
        start: x′.
        end: The input.
        alpha: The share of the way that is done after this step.
        p: ``fraction`` and ``max_dist``.
    """
    low, high = (start + (end - start) * np.clip(alpha + d, 0.0, 1.0) for d in (-p.max_dist, p.max_dist))
    x = np.where(np.abs(end - x) > np.abs(end - low), low, x)  # what fell behind catches up
    whole = np.abs(end - start).sum()
    left = np.abs(high - x)
    while (gap := np.abs(end - x).sum() - (1 - alpha) * whole) > CLOSE * whole and left.any():
        chosen = _least(np.where(left > 0, np.abs(slope), np.inf), p.fraction)
        share = min(1.0, gap / left[chosen].sum())
        x[chosen] = high[chosen] if share >= 1 else (x + share * (high - x))[chosen]
        left = np.abs(high - x)
    return x


def _least(size: Array, fraction: float) -> Array:
    """Which elements are below the quantile ``fraction`` of all; at least one, none that is infinite."""
    place = int(fraction * (len(size) - 1))
    result: Array = (size <= np.partition(size, place)[place]) & np.isfinite(size)
    return result


def flat(request: Request, values: Mapping[str, Array]) -> Array:
    """The wanted arrays side by side, float64 [items, elements]; one item where items share an input."""
    alone = request.batched and all(request.has_items(n) for n in request.wanted)
    items = len(request.target.seed) if alone else 1
    return np.concatenate([values[n].astype(np.float64).reshape(items, -1) for n in request.wanted], axis=1)


def shaped(request: Request, rows: Array) -> dict[str, Array]:
    """The inverse of :func:`flat`."""
    like = {n: request.feeds[n] for n in request.wanted}
    ends = np.cumsum([x.size // len(rows) for x in like.values()])
    parts = np.split(rows, ends[:-1], axis=1)
    return {n: part.reshape(x.shape) for (n, x), part in zip(like.items(), parts, strict=True)}


CLAIMS = up_to_residual("completeness") | exactly("dummy", "implementation_invariance")
METHOD = Method(
    read_card("guided_integrated_gradients", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="sampling"
)
