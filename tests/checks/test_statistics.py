from __future__ import annotations

import math

import numpy as np
import pytest

from explainsvc.checks import statistics
from explainsvc.checks.statistics import TAILS, inputs_needed, summarise, summarise_all
from explainsvc.weights import seed_sequence


def test_mean_and_spread_leave_nan_out() -> None:
    """Mean and sample standard deviation are numpy's over the known values; n counts those."""
    values = np.array([0.5, np.nan, 1.5, 4.0])
    found = summarise(values, 1000, 0)
    assert (found.n, found.mean) == (3, 2.0)
    assert found.std == pytest.approx(np.std([0.5, 1.5, 4.0], ddof=1))


def test_the_interval_is_the_normal_one_for_many_values() -> None:
    """For many values the bootstrap interval is mean ± 1.96 σ/√n within its sampling error."""
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    found = summarise(values, 4000, 2)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("count", [0, 1])
def test_one_value_has_no_interval(count: int) -> None:
    """A single input says nothing about spread: NaN, not an interval of width zero."""
    found = summarise(np.ones(count), 100, 0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.std)


def test_inputs_needed_decide() -> None:
    """With that many inputs of the same mean and spread, the normal interval ends at the limit."""
    n = inputs_needed(0.6, 0.5, 0.5)
    assert n is not None
    assert 1.96 * 0.5 / math.sqrt(n) < 0.1 <= 1.96 * 0.5 / math.sqrt(n - 2)
    assert inputs_needed(0.5, 0.5, 0.5) is None


def test_the_interval_is_that_of_the_resamples_written_out() -> None:
    """Shares times values are the means of resampled items: the interval is theirs, resample by resample."""
    values = np.random.default_rng(3).normal(size=7)
    drawn = np.random.default_rng(seed_sequence(11, "bootstrap/7")).integers(0, 7, (300, 7))
    low, high = np.percentile([np.mean([values[i] for i in row]) for row in drawn], TAILS)
    found = summarise(values, 300, 11)
    assert [found.low, found.high] == pytest.approx([low, high], rel=1e-12)


def test_measures_are_summed_up_together_as_each_alone() -> None:
    """A curve in one go, with items missing here and there, has the summaries of its points one by one."""
    curve = np.random.default_rng(4).normal(size=(5, 12))
    curve[1, 3] = curve[2, 0] = np.nan
    curve[3], curve[4, 1:] = np.nan, np.nan
    for found, values in zip(summarise_all(list(curve), 200, 0), curve, strict=True):
        alone = summarise(values, 200, 0)
        assert found.n == alone.n
        assert [found.mean, found.std, found.low, found.high] == pytest.approx(
            [alone.mean, alone.std, alone.low, alone.high], rel=1e-9, nan_ok=True
        )


def test_many_draws_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More draws than are kept give the same interval, whatever the size of a part."""
    values = np.random.default_rng(5).normal(size=40)
    whole = summarise(values, 500, 1)
    monkeypatch.setattr(statistics, "KEPT_DRAWS", 0)
    monkeypatch.setattr(statistics, "PART_DRAWS", 40 * 7)
    found = summarise(values, 500, 1)
    assert [found.low, found.high] == pytest.approx([whole.low, whole.high], rel=1e-12)


def test_equal_values_have_an_interval_of_exactly_that_value() -> None:
    """Step 0 of a check gives the same number for every input: its interval is that number, not one beside it."""
    found = summarise(np.full(9, 0.1), 1000, 0)
    assert (found.low, found.high) == (0.1, 0.1)
