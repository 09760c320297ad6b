from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from explainsvc.checks import similarity
from explainsvc.checks.similarity import SIMILARITIES, correlation, missing, spearman, spearman_abs


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(ties: bool) -> None:
    """Per item the rank correlation equals scipy.stats.spearmanr, with ties and without."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 50)).astype(np.float32)
    if ties:
        a, b = np.round(a), np.round(b + a)
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=0, atol=1e-12)
    expected = [spearmanr(np.abs(x), np.abs(y)).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(spearman_abs(a, b), expected, rtol=0, atol=1e-12)


def test_ranks_are_scipys() -> None:
    """Mean ranks equal scipy.stats.rankdata, zeros of both signs included."""
    maps = np.random.default_rng(1).integers(-3, 4, (5, 40)).astype(np.float32)
    maps[0, ::2] *= -0.0
    np.testing.assert_array_equal(similarity._ranks(maps), rankdata(maps, axis=1))


def test_correlation_is_scipys() -> None:
    """Pearson's correlation per item equals scipy.stats.pearsonr."""
    a, b = np.random.default_rng(2).normal(size=(2, 4, 9))
    expected = [pearsonr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-12)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_constant_map_has_no_similarity(name: str) -> None:
    """A constant map gives NaN and a reason, also against itself, never 1."""
    a = np.random.default_rng(3).normal(size=(3, 10)).astype(np.float32)
    a[1] = 0.1
    values = SIMILARITIES[name](a, a)
    np.testing.assert_allclose(values[[0, 2]], 1.0)
    assert np.isnan(values[1])
    assert missing(values, a, a) == "1 of 3 inputs left out: a constant map"


def test_a_map_with_nan_has_no_similarity() -> None:
    """NaN or infinity in either map gives NaN and another reason."""
    a = np.random.default_rng(4).normal(size=(3, 10)).astype(np.float32)
    b = a.copy()
    b[0, 3], b[1] = np.inf, 0.0
    values = spearman(a, b)
    assert np.isnan(values[:2]).all()
    assert values[2] == pytest.approx(1.0)
    words = missing(values, a, b)
    assert "1 of 3 inputs left out: a constant map" in words
    assert "1 of 3 inputs left out: NaN or infinity" in words


def test_large_batches_are_ranked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts give what the whole gives."""
    a, b = np.random.default_rng(5).normal(size=(2, 7, 30))
    whole = spearman(a, b)
    monkeypatch.setattr(similarity, "CHUNK_ELEMENTS", 60)
    np.testing.assert_array_equal(spearman(a, b), whole)
