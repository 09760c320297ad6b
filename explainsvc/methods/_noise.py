"""What SmoothGrad, SmoothGrad² and VarGrad share: a base method on noisy copies of the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_params
from explainsvc.engine import attribute
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.method import Method, Request, Result, silent
from explainsvc.methods._moments import Told, moments
from explainsvc.variations import per_variation, split_values

WRAPPERS = ("smoothgrad", "smoothgrad_squared", "vargrad")


@dataclass(frozen=True)
class NoiseParams:
    """Noise and base method."""

    samples: int = param(50, "int", "noisy copies", low=2, high=100_000)
    noise: float = param(0.15, "float", "σ relative to the input's range (max − min)", low=0)
    base: str = param("gradient", "str", "the method that explains each copy")
    base_parameters: Any = param(None, "object", "parameters of the base method")
    batch_size: int = param(16, "int", "items per run", low=1)


@dataclass(frozen=True)
class Noisy:
    """Explanations of noisy copies, float64: their mean, their variance divided by n, and what the base method confessed."""

    mean: dict[str, Array]
    variance: dict[str, Array]
    caveats: tuple[str, ...]


def noisy_explanations(request: Request, p: NoiseParams, owner: str, told: Told = silent) -> Noisy:
    """Moments of E(x + g_n), g ~ N(0, σ²), σ = noise · (max − min) of each item's input (Smilkov et al. 2017, section 3.1)."""
    base = base_method(p)
    params: Any = read_params(base.params, p.base_parameters or {}, p.base)
    caveats = dict.fromkeys(base.caveats)

    def explained() -> Iterator[Mapping[str, Array]]:
        quiet = replace(request, progress=silent, watch=silent)  # the base method would count from one for every copy
        results = per_variation(quiet, _copies(request, p), lambda r: attribute(base, params, r), _split, p.batch_size)
        for k, result in enumerate(results):
            caveats.update(dict.fromkeys(result.caveats))
            request.progress(k + 1, p.samples, owner)
            yield result.values

    mean, variance = moments(explained(), told)
    return Noisy(mean, variance, tuple(caveats))


def base_method(p: NoiseParams) -> Method:
    """The method that is wrapped.

    Raises:
        UnknownMethod: There is none of that name.
        InvalidParameter: It is a wrapper itself.
    """
    from explainsvc.methods import find_method  # the registry imports this file

    base = find_method(p.base, "parameters.base")
    if p.base in WRAPPERS:
        raise InvalidParameter(
            "the base is a wrapper itself", violations=[Violation("parameters.base", f"is {p.base}")],
            expected="a method that explains an input once", to_do="Use gradient or integrated_gradients",
        )  # fmt: skip
    return base


def _copies(request: Request, p: NoiseParams) -> Iterator[dict[str, Array]]:
    """x + g_n, in the inputs' types."""
    rng = np.random.default_rng(request.seed)
    spread = {n: p.noise * value_range(request, n) for n in request.wanted}
    for _ in range(p.samples):
        noise = {n: spread[n] * rng.standard_normal(request.feeds[n].shape) for n in request.wanted}
        yield {n: np.asarray(request.feeds[n] + noise[n], request.feeds[n].dtype) for n in request.wanted}


def value_range(request: Request, name: str) -> Array:
    """max − min per item of an input, shaped to broadcast over it: the unit of relative noise."""
    x = request.feeds[name]
    axes = tuple(range(1, x.ndim)) if request.has_items(name) and x.ndim > 1 else None
    return np.asarray(np.ptp(x.astype(np.float64), axis=axes, keepdims=True))


def _split(result: Result, count: int) -> list[Result]:
    return [replace(result, values=values) for values in split_values(result.values, count)]
