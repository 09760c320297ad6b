"""blur_ig: The gradient integrated along the path from a blurred input to the input.

Computes: −Σ_i (σ_{i+1} − σ_i) ∂S(L(x, σ_i))/∂x ⊙ ∂L(x, σ_i)/∂σ, L(x, σ) the input under a Gaussian blur of its positions.
Output: Signed, the input's shape, in units of S; sums to S(x) − S(L(x, max_sigma)) up to the reported residual.
Needs: A differentiable path of float values from the input to the target; an input with positions.
Cost: `steps` forward and backward passes, stacked in batches.
Properties: Nearly complete: the kernel is cut off at 4σ, and where that grows by a pixel the path jumps, which ∂L/∂σ does not
  see (about 1 % of S); no baseline to choose, no colour that counts as absent.
Limits: What has no scale (a colour that fills the image) gets nothing; outside of the image everything is 0, so that blurred
  borders fade to it.
Source: Xu, Venugopalan, Sundararajan 2020, arXiv:2004.03383, section 3; PAIR's code for kernel, border and ∂L/∂σ.
Differs: `sqrt` spaces σ² evenly up to max_sigma² (PAIR's ends at σ = √max_sigma); channels are found in the graph, in any layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_residual
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._path import Step, along, summed, typed
from explainsvc.methods._spatial import spatial_axes
from explainsvc.variations import target_values

if TYPE_CHECKING:
    from explainsvc.model import Model

SIGMA_STEP = 0.01
"""Of the difference quotient ∂L/∂σ ≈ (L(σ + step) − L(σ)) / step (PAIR's grad_step)."""


@dataclass(frozen=True)
class Params:
    """The scales."""

    steps: int = param(100, "int", "scales between the input and the blurred input", low=1, high=10_000)
    max_sigma: float = param(50.0, "float", "σ of the blurred input, in pixels", low=0.01, high=1000)
    grid: str = param("linear", "str", "how the scales are spaced: σ or σ² evenly", choices=("linear", "sqrt"))
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Sums over the scales, from the sharp input on."""
    axes = {name: spatial_axes(request.model.graph, name, request.target.output, "blur_ig")[1] for name in request.wanted}

    def blurred(sigma: float) -> dict[str, Array]:
        return {n: blur(request.feeds[n].astype(np.float64), sigma, axes[n]) for n in request.wanted}

    def path() -> Iterator[Step]:
        sigmas = scales(p)
        for sigma, gap in zip(sigmas[:-1], np.diff(sigmas), strict=True):
            here, beyond = blurred(sigma), blurred(sigma + SIGMA_STEP)
            yield here, {n: -gap * (beyond[n] - here[n]) / SIGMA_STEP for n in here}

    values = summed(request, along(request, path(), p.batch_size), p.steps, "blur_ig")
    end = {n: v.astype(request.feeds[n].dtype) for n, v in blurred(p.max_sigma).items()}
    at_end = target_values(request.on(request.feeds | end))
    return Result(typed(values, request), at_end, request.excess(values, target_values(request) - at_end))


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Every input has positions."""
    for name in inputs:
        spatial_axes(model.graph, name, output, "blur_ig")


def scales(p: Params) -> Array:
    """σ_0 = 0 to σ_steps = max_sigma."""
    share = np.arange(p.steps + 1) / p.steps
    return np.asarray(p.max_sigma * (np.sqrt(share) if p.grid == "sqrt" else share))


def blur(x: Array, sigma: float, axes: tuple[int, ...]) -> Array:
    """A Gaussian blur along ``axes``, zero outside."""
    for axis in axes:
        x = np.moveaxis(np.tensordot(_kernel(x.shape[axis], sigma), x, (1, axis)), 0, axis)
    return x


@lru_cache(maxsize=8)
def _kernel(size: int, sigma: float) -> Array:
    """scipy's filter as a matrix: the blurred unit vectors. A product with it is faster than a wide kernel."""
    units = np.eye(size)
    return units if sigma <= 0 else np.asarray(ndimage.gaussian_filter1d(units, sigma, axis=0, mode="constant"))


CLAIMS = up_to_residual("completeness") | exactly("dummy", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("blur_ig", __doc__, Params, CLAIMS), Params, run=run, requires=requires, complete="difference", family="sampling"
)
