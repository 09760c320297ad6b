"""Mean and variance of a stream of attributions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.method import Estimate, Request, silent

Arrays = Mapping[str, Array]
Told = Callable[[int, Arrays, Arrays], None]
"""Hears the number of samples, their mean and their variance (divided by the number) after every sample."""


def standard_error(variance: Array, samples: int) -> Array:
    """√(unbiased variance / n) of a mean, from the variance divided by n."""
    return np.sqrt(variance / (samples - 1))


def telling(request: Request, total: int, shown: Callable[[Arrays], Arrays], each: int = 1) -> Told:
    """Who tells a request's watch; ``silent`` where nobody watches.

    Args:
        request: What is explained.
        total: The number of samples in the end.
        shown: Makes moments, which may be of features, into arrays of the inputs' shapes.
        each: How many of the method's own samples one of ours is.
    """

    def told(count: int, mean: Arrays, variance: Arrays) -> None:
        def estimate() -> Estimate:
            errors = {name: standard_error(array, count) for name, array in variance.items()}
            return Estimate(each * count, each * total, shown(mean), shown(errors))

        if count > 1:
            request.watch(each * count, each * total, estimate)

    return silent if request.watch is silent else told


def moments(samples: Iterable[Mapping[str, Array]], told: Told = silent) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and variance (divided by the number of samples) per input, float64; ``told`` hears both on the way.

    Welford 1962: no difference of large numbers.
    """
    mean: dict[str, Array] = {}
    spread: dict[str, Array] = {}
    count = 0
    for count, sample in enumerate(samples, start=1):
        for name, value in sample.items():
            step = value.astype(np.float64) - mean.get(name, 0.0)
            mean[name] = mean.get(name, 0.0) + step / count
            spread[name] = spread.get(name, 0.0) + step * (value - mean[name])
        if told is not silent:
            told(count, mean, {name: total / count for name, total in spread.items()})
    return mean, {name: total / count for name, total in spread.items()}
