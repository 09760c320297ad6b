"""Mean, spread and interval of a similarity over inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array

TAILS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
RESAMPLES = 1000
"""Bootstrap resamples behind an interval where a check has no parameter for them."""
LEAST_INPUTS = 5
"""Four inputs have 35 different resamples, too few for the 2.5 % tails of a bootstrap; five have 126."""
Z = 1.96
"""The normal distribution's quantile for the same."""
Statistic = Callable[[Array], Array]
"""[resample, item] → [resample]."""


@dataclass(frozen=True)
class Summary:
    """Over the items for which the value exists (not NaN): their number is ``n``. NaN where there are too few."""

    mean: float
    std: float
    low: float
    high: float
    n: int


def summarise(values: Array, resamples: int, rng: np.random.Generator) -> Summary:
    """Mean, sample standard deviation, and the percentile bootstrap interval of the mean (Efron 1979)."""
    known = np.asarray(values, np.float64)[~np.isnan(values)]
    n = len(known)
    if n < 2:
        return Summary(float(known[0]) if n else math.nan, math.nan, math.nan, math.nan, n)
    means = known[rng.integers(0, n, (resamples, n))].mean(axis=1)
    low, high = np.percentile(means, TAILS)
    return Summary(float(known.mean()), float(known.std(ddof=1)), float(low), float(high), n)


def inputs_needed(mean: float, std: float, limit: float) -> int | None:
    """Number of inputs at which the interval would leave the limit if mean and spread stay; None where they meet."""
    distance = abs(mean - limit)
    return None if distance == 0 or not math.isfinite(std) else math.ceil((Z * std / distance) ** 2) + 1
