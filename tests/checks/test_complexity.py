from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from explainsvc.checks.complexity import NOISE, effective_complexity, entropy, gini, noise_of
from tests.checks.judged import judged, linear, row_of, subject_of, uniform, with_map, with_maps
from tests.checks.models import numbers

NAME = "complexity"


def test_entropy_is_scipys() -> None:
    """Of the shares of |φ|; zeros add nothing, a uniform map has ln E."""
    magnitudes = np.abs(numbers(4, 30))
    magnitudes[:, :7] = 0
    np.testing.assert_allclose(entropy(magnitudes), scipy_entropy(magnitudes, axis=1), rtol=1e-5)
    np.testing.assert_allclose(entropy(np.ones((1, 50))), np.log(50))


def test_gini_is_half_the_relative_mean_difference() -> None:
    """Σ_ij |v_i − v_j| / (2 d Σ v) over all pairs; 0 for a uniform map, 1 − 1/d for one element."""
    magnitudes = np.abs(numbers(4, 30)).astype(float)
    pairs = np.abs(magnitudes[:, :, None] - magnitudes[:, None, :]).sum(axis=(1, 2))
    np.testing.assert_allclose(gini(magnitudes), pairs / (2 * 30 * magnitudes.sum(axis=1)), rtol=1e-9)
    np.testing.assert_allclose(gini(np.ones((1, 50))), 0, atol=1e-12)
    np.testing.assert_allclose(gini(np.eye(1, 50)), 0.98)


def test_noise_has_the_index_of_the_limit() -> None:
    """Normal numbers have the Gini index √2 − 1, less what pairs of an element with itself take."""
    assert gini(np.abs(numbers(1, 200_000)).astype(float))[0] == pytest.approx(NOISE, abs=0.002)
    assert gini(np.abs(numbers(20_000, 6)).astype(float)).mean() == pytest.approx(noise_of(6), abs=0.03)


def test_elements_are_counted_against_the_largest() -> None:
    """The scale of a map does not matter."""
    magnitudes = np.array([[10.0, 0.4, 0.6, 0.0]])
    for scale in (1e-9, 1, 1e9):
        assert effective_complexity(scale * magnitudes, 0.05).tolist() == [2]


def test_few_elements_pass_and_a_uniform_map_fails() -> None:
    """One bright element of twenty is concise, twenty equal ones are not; both sentences say that this is not faithfulness."""
    subject = subject_of(linear(20), {"x": numbers(8, 20)}, ["gradient"])
    rows, verdicts = judged(with_maps(subject, one=lambda _: np.eye(8, 20, dtype=np.float32), flat=uniform), NAME)
    assert (verdicts["one"].word, verdicts["flat"].word) == ("pass", "fail")
    assert all("not whether it is right" in v.reason for v in verdicts.values())
    assert (row_of(rows, "one", "effective_complexity").mean, row_of(rows, "flat", "effective_share").mean) == (1, 1)


def test_a_map_of_zeros_is_left_out() -> None:
    """It has no shares."""
    subject = subject_of(linear(20), {"x": numbers(6, 20)}, ["gradient"])
    emptied = with_map(subject.explained[0], lambda v: np.where(np.arange(6)[:, None] == 0, 0, v))
    rows, _ = judged(replace(subject, explained=(emptied,)), NAME)
    assert {(row.n, row.note[:25]) for row in rows} == {(5, "1 of 6 inputs left out: a")}
