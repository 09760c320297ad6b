from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks import _flipping as flipping
from explainsvc.checks import _selection as selection
from explainsvc.checks.select_parameters import NAME
from explainsvc.errors import InvalidParameter
from tests.checks.judged import judged, linear, row_of, subject_of
from tests.checks.models import cnn, numbers, pictures


def test_rows_say_what_each_value_gives() -> None:
    """Conservation by hand, the gain as pixel_flipping has it, one row per value and measure, and ranks per item."""
    model, x = cnn(), pictures(6)
    subject = subject_of(model, x, ["lrp_gamma"])
    rows, verdicts = judged(subject, NAME, parameter="gamma", values=[0, 0.25, 1])
    assert [(r.unit, r.amount) for r in rows if r.measure == "conservation"] == [
        ("gamma = 0", 0),
        ("gamma = 0.25", 0.25),
        ("gamma = 1", 1),
    ]
    s = model.predict(x)["y"].max(axis=1).astype(float)
    for step, gamma in enumerate((0, 0.25, 1), start=1):
        other = subject_of(model, x, ["lrp_gamma"], parameters={"lrp_gamma": {"gamma": gamma}})
        total = other.explained[0].maps.astype(float).sum(axis=1)
        conservation = row_of(rows, "lrp_gamma", "conservation", step=step).mean
        assert conservation == pytest.approx(np.mean(np.abs(total - s) / np.abs(s)), rel=1e-3, abs=1e-5)
        gain = row_of(judged(other, "pixel_flipping", steps=10, order="morf")[0], "lrp_gamma", "gain_over_random", "morf").mean
        assert row_of(rows, "lrp_gamma", "gain_over_random", step=step).mean == pytest.approx(gain, rel=1e-4)
    ranks = [row for row in rows if row.measure == "mean_rank"]
    assert sum(row.mean for row in ranks) == pytest.approx(1 + 2 + 3)
    best = min(ranks, key=lambda row: row.mean)
    assert f"best: {best.unit}," in verdicts["lrp_gamma"].reason


def test_a_value_that_is_best_in_all_is_chosen() -> None:
    """On a linear model ε only shrinks what LRP conserves: 0 conserves best and passes; values are told apart by nothing else."""
    subject = subject_of(linear(20), {"x": numbers(8, 20)}, ["lrp_epsilon"])
    rows, verdicts = judged(subject, NAME, parameter="epsilon", values=[100.0, 1e-6], baseline="zero", neighbours=2)
    assert verdicts["lrp_epsilon"].word == "pass"
    assert verdicts["lrp_epsilon"].reason.startswith("best: epsilon = 1e-06,")
    lost = [row_of(rows, "lrp_epsilon", "conservation", step=step).mean for step in (1, 2)]
    assert lost[0] > 0.8 > 1e-3 > lost[1]


def test_a_method_that_cannot_be_made_faithful_fails() -> None:
    """Whatever number a constant map holds, its order is random."""
    subject = subject_of(cnn(), pictures(6), ["constant"])
    _, verdicts = judged(subject, NAME, parameter="value", values=[0.5, 1, 2])
    assert verdicts["constant"].word == "fail"


def test_continuity_is_the_largest_relative_change() -> None:
    """The contributions w·x of a linear model: by hand over the same neighbours; a gradient that never changes has 0."""
    x, w = numbers(5, 20), subject_of(linear(20), {"x": numbers(5, 20)}, ["gradient"]).explained[0].maps
    subject = subject_of(linear(20), {"x": x}, ["input_x_gradient", "gradient"])
    contributions, gradient = subject.explained
    request = flipping.request_of(subject, contributions)
    moved = [selection._moved(request, "x", 0.1, k) for k in range(3)]
    expected = [
        (np.linalg.norm((m - x) * w, axis=1) / np.linalg.norm(x * w, axis=1))
        / (np.linalg.norm(m - x, axis=1) / np.linalg.norm(x, axis=1))
        for m in moved
    ]
    found = selection.continuity(request, contributions, contributions.result, 3, 0.1)
    np.testing.assert_allclose(found, np.max(expected, axis=0), rtol=1e-4)
    np.testing.assert_array_equal(selection.continuity(request, gradient, gradient.result, 3, 0.1), np.zeros(5))
    assert np.std(np.concatenate([m - x for m in moved])) == pytest.approx(0.1 * np.ptp(x, axis=1).mean(), rel=0.2)


def test_ranks_are_per_item_and_mean_at_ties() -> None:
    """Two measures, three values, two items."""
    a = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 1.0]])
    b = np.array([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0]])
    np.testing.assert_allclose(selection.mean_ranks({"a": a, "b": b}), [[2, 1.75], [2, 2.25], [2, 2]])


def test_values_are_a_list_or_its_json() -> None:
    """Neither a name nor values is refused; a value that the method refuses stays a verdict that says why."""
    assert selection.values_of("gamma", "[0, 0.5]") == [0, 0.5]
    for parameter, values in (("", [1]), ("gamma", []), ("gamma", "[0,"), ("gamma", "3")):
        with pytest.raises(InvalidParameter, match=r"parameters\.(parameter|values)"):
            selection.values_of(parameter, values)
    wanted = {NAME: {"parameter": "gamma", "values": [-1, 0]}}
    report = cnn().audit(pictures(5), methods=["lrp_gamma", "gradient"], checks=[NAME], parameters=wanted)
    assert "≥ 0" in report.reasons["lrp_gamma", NAME]
    assert 'has no parameter "gamma"' in report.reasons["gradient", NAME]
    assert set(report.verdicts.values()) == {"inconclusive"}
