"""Mean and variance of a stream of attributions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from explainsvc.autograd.shapes import Array


def standard_error(variance: Array, samples: int) -> Array:
    """√(unbiased variance / n) of a mean, from the variance divided by n."""
    return np.sqrt(variance / (samples - 1))


def moments(samples: Iterable[Mapping[str, Array]]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and variance (divided by the number of samples) per input, float64.

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
    return mean, {name: total / count for name, total in spread.items()}
