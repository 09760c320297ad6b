"""What SmoothGrad, SmoothGrad² and VarGrad share: a base method on noisy copies of the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_params
from explainsvc.engine import attribute
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.features import result_type
from explainsvc.method import Request
from explainsvc.variations import per_variation, split_values


@dataclass(frozen=True)
class NoiseParams:
    """Noise and base method."""

    samples: int = param(50, "int", "noisy copies", low=2, high=100_000)
    noise: float = param(0.15, "float", "σ relative to the input's range (max − min)", low=0)
    base: str = param("gradient", "str", "the method that explains each copy")
    base_parameters: Any = param(None, "object", "parameters of the base method")
    batch_size: int = param(16, "int", "items per run", low=1)


def noisy_explanations(request: Request, p: NoiseParams, owner: str) -> Iterator[dict[str, Array]]:
    """E(x + g_n), g ~ N(0, σ²), σ = noise · (max − min) of each item's input (Smilkov et al. 2017, section 3.1)."""
    from explainsvc.methods import find_method  # the registry imports this file

    base = find_method(p.base)
    if p.base in ("smoothgrad", "smoothgrad_squared", "vargrad"):
        raise InvalidParameter("the base is a wrapper itself", violations=[Violation("parameters.base", f"is {p.base}")])
    params: Any = read_params(base.params, p.base_parameters or {}, p.base)
    rng = np.random.default_rng(request.seed)
    sigma = {n: p.noise * _range(request.feeds[n], request.has_items(n)) for n in request.wanted}

    def copies() -> Iterator[dict[str, Array]]:
        for _ in range(p.samples):
            yield {
                n: np.asarray(request.feeds[n] + sigma[n] * rng.standard_normal(request.feeds[n].shape), request.feeds[n].dtype)
                for n in request.wanted
            }

    explained = per_variation(request, copies(), lambda r: attribute(base, params, r).values, split_values, p.batch_size)
    for k, values in enumerate(explained):
        request.progress(k + 1, p.samples, owner)
        yield {n: v.astype(np.float64) for n, v in values.items()}


def _range(x: Array, batched: bool) -> Array:
    """max − min per item, shaped to broadcast over it."""
    axes = tuple(range(1, x.ndim)) if batched and x.ndim > 1 else None
    return np.asarray(np.ptp(x.astype(np.float64), axis=axes, keepdims=True))


def typed(values: dict[str, Array], request: Request) -> dict[str, Array]:
    """Float64 sums as the type of the input (float32 for half precision)."""
    return {n: v.astype(result_type(request.feeds[n])) for n, v in values.items()}
