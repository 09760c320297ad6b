from __future__ import annotations

import math

import numpy as np
import pytest

from explainsvc.checks.statistics import inputs_needed, summarise


def test_mean_and_spread_leave_nan_out() -> None:
    """Mean and sample standard deviation are numpy's over the known values; n counts those."""
    values = np.array([0.5, np.nan, 1.5, 4.0])
    found = summarise(values, 1000, np.random.default_rng(0))
    assert (found.n, found.mean) == (3, 2.0)
    assert found.std == pytest.approx(np.std([0.5, 1.5, 4.0], ddof=1))


def test_the_interval_is_the_normal_one_for_many_values() -> None:
    """For many values the bootstrap interval is mean ± 1.96 σ/√n within its sampling error."""
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    found = summarise(values, 4000, np.random.default_rng(2))
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("count", [0, 1])
def test_one_value_has_no_interval(count: int) -> None:
    """A single input says nothing about spread: NaN, not an interval of width zero."""
    found = summarise(np.ones(count), 100, np.random.default_rng(0))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.std)


def test_inputs_needed_decide() -> None:
    """With that many inputs of the same mean and spread, the normal interval ends at the limit."""
    n = inputs_needed(0.6, 0.5, 0.5)
    assert n is not None
    assert 1.96 * 0.5 / math.sqrt(n) < 0.1 <= 1.96 * 0.5 / math.sqrt(n - 2)
    assert inputs_needed(0.5, 0.5, 0.5) is None
