from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from explainsvc.checks import maps, sensitivity_n
from tests.checks.judged import judged, linear, negated, row_of, subject_of, uniform, with_maps
from tests.checks.models import cnn, numbers, pictures

NAME = "sensitivity_n"


def test_contributions_of_a_linear_model_correlate_fully() -> None:
    """Sums of w·x are the drops to zero: 1 for every n; the opposite map gets −1 and fails."""
    subject = with_maps(subject_of(linear(20), {"x": numbers(8, 20)}, ["input_x_gradient"]), opposite=negated)
    rows, verdicts = judged(subject, NAME)
    for row in rows:
        assert row.mean == pytest.approx(1 if row.method == "input_x_gradient" else -1, abs=1e-5)
    assert [v.word for v in verdicts.values()] == ["pass", "fail"]


def test_the_sets_grow_evenly_in_the_logarithm() -> None:
    """From one feature to 80 % of them, each n once, named by the unit and placed by the share."""
    assert sensitivity_n.sizes_of(100, 5) == [1, 3, 9, 27, 80]
    assert sensitivity_n.sizes_of(3, 8) == [1, 2]
    sets = sensitivity_n._sets(10, [1, 4, 8], 50, 0)
    assert (sets.sum(axis=2) == np.array([1, 4, 8])[:, None]).all()
    np.testing.assert_allclose(sets[1].mean(axis=0), 0.4, atol=0.3)
    rows, _ = judged(subject_of(linear(10), {"x": numbers(5, 10)}, ["gradient"]), NAME, sizes=3)
    assert [(r.unit, r.amount) for r in rows if r.measure == "correlation"] == [("n = 1", 0.1), ("n = 3", 0.3), ("n = 8", 0.8)]


def test_correlations_are_scipys_over_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set by set and item by item with one forward each, in groups of items too."""
    model, x = cnn(), pictures(5)["x"]
    subject = subject_of(model, {"x": x}, ["gradient"])
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 256)
    rows, _ = judged(subject, NAME, sizes=2, subsets=6, window=2, baseline="mean")
    chosen = sensitivity_n._sets(16, [1, 13], 6, 0)[1]
    values = subject.explained[0].result.values["x"].astype(float)
    target = model.predict({"x": x})["y"].argmax(axis=1)
    expected = []
    for k in range(5):
        sums, drops = [], []
        for one in chosen:
            gone = np.repeat(np.repeat(one.reshape(4, 4), 2, axis=0), 2, axis=1)
            changed = np.where(gone, x[k].mean(), x[k])
            outputs = model.predict({"x": np.stack([x[k], changed])})["y"][:, target[k]]
            sums.append((values[k] * gone).sum())
            drops.append(outputs[0] - outputs[1])
        expected.append(pearsonr(sums, drops).statistic)
    row = next(row for row in rows if row.unit == "n = 13")
    assert row.mean == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_uniform_map_has_no_correlation() -> None:
    """All its sums are equal: nothing to judge, and the note says why; a sum's rounding is no difference."""
    subject = with_maps(subject_of(linear(20), {"x": numbers(6, 20)}, ["gradient"]), flat=uniform, third=lambda v: 0 * v + 0.1)
    rows, verdicts = judged(subject, NAME)
    for name in ("flat", "third"):
        assert row_of(rows, name, "mean_correlation").n == 0
        assert verdicts[name].word == "inconclusive"
        assert "all sums" in verdicts[name].reason
