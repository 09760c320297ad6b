"""Mean, spread and interval of a similarity over inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.weights import seed_sequence

TAILS = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
RESAMPLES = 1000
"""Bootstrap resamples behind an interval where a check has no parameter for them."""
LEAST_INPUTS = 5
"""Four inputs have 35 different resamples, too few for the 2.5 % tails of a bootstrap; five have 126."""
KEPT_DRAWS, PART_DRAWS = 2**20, 2**18
"""Draws of an item that are kept for the next rows with as many items, and those that are made at a time."""
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


def summarise(values: Array, resamples: int, seed: int) -> Summary:
    """Mean, sample standard deviation, and the percentile bootstrap interval of the mean (Efron 1979)."""
    return summarise_all([values], resamples, seed)[0]


def summarise_all(measured: Sequence[Array], resamples: int, seed: int) -> list[Summary]:
    """Of many measures, [item] each: those that exist for as many items are resampled together, by the same draws.

    An interval looks at one measure alone, so that draws of its own would say nothing more of it; with common ones the
    intervals of a curve do not jump from step to step by chance of the draws.
    """
    known = [np.asarray(values, np.float64)[~np.isnan(values)] for values in measured]
    found: dict[int, Summary] = {}
    for n in {len(values) for values in known}:
        places = [place for place, values in enumerate(known) if len(values) == n]
        found |= zip(places, _summaries(np.stack([known[place] for place in places]), resamples, seed), strict=True)
    return [found[place] for place in range(len(known))]


def _summaries(values: Array, resamples: int, seed: int) -> list[Summary]:
    """Of measures that exist for all items, [measure, item]."""
    n = values.shape[1]
    if n < 2:
        return [Summary(float(row[0]) if n else math.nan, math.nan, math.nan, math.nan, n) for row in values]
    low, high = np.percentile(_resampled_means(values, resamples, seed), TAILS, axis=1)
    columns = (values.mean(axis=1), values.std(axis=1, ddof=1), low, high)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Summary(mean, std, lower, upper, n) for mean, std, lower, upper in rows]


def _resampled_means(values: Array, resamples: int, seed: int) -> Array:
    """[measure, resample]; of equal values every mean is that value, to the last digit."""
    first = values[:, :1]
    with np.errstate(invalid="ignore"):  # an infinite value has no interval
        parts = [shares @ (values - first).T for shares in _shares(values.shape[1], resamples, seed)]
    return np.asarray(np.concatenate(parts).T + first)


def _shares(n: int, resamples: int, seed: int) -> Iterable[Array]:
    """The share of every item in every resample, [resample, item], in parts."""
    return _kept_shares(n, resamples, seed) if n * resamples <= KEPT_DRAWS else _drawn_shares(n, resamples, seed)


@lru_cache(maxsize=4)
def _kept_shares(n: int, resamples: int, seed: int) -> tuple[Array, ...]:
    return tuple(_drawn_shares(n, resamples, seed))


def _drawn_shares(n: int, resamples: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed_sequence(seed, f"bootstrap/{n}"))
    rows = max(1, PART_DRAWS // n)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=count * n).reshape(count, n) / n


def inputs_needed(mean: float, std: float, limit: float) -> int | None:
    """Number of inputs at which the interval would leave the limit if mean and spread stay; None where they meet."""
    distance = abs(mean - limit)
    return None if distance == 0 or not math.isfinite(std) else math.ceil((Z * std / distance) ** 2) + 1
