"""mean_shift_attack: methods that multiply by the input show the shift, the gradient does not."""

from __future__ import annotations

import numpy as np
import pytest

import explainsvc
from explainsvc.checks._shift import shifted
from explainsvc.checks.mean_shift_attack import MAIN, NAME
from explainsvc.checks.rows import Row
from explainsvc.report.report import Report
from tests import models
from tests.checks.models import Array, cnn, numbers, pictures


def row(report: Report, method: str, measure: str) -> Row:
    """The only row of a measure."""
    (found,) = [r for r in report.rows if (r.method, r.measure) == (method, measure)]
    return found


def test_the_shifted_model_is_the_model_of_shifted_inputs() -> None:
    """f₂(x + m) = f(x) behind a padded convolution, and of two inputs at once."""
    model, x, m = cnn(), pictures(3)["x"], numbers(2, 8, 8, seed=5)
    other, moved = shifted(model, {"x": x}, {"x": m}, sub=True)
    found = other.predict(moved)["y"]
    np.testing.assert_allclose(found, model.predict({"x": x})["y"], rtol=1e-4, atol=1e-4)
    pair = explainsvc.load(models.two_by_two())
    feeds = {"a": numbers(3, 3), "b": numbers(3, 2)}
    shifts = {"a": numbers(3, seed=1), "b": numbers(2, seed=2)}
    other, moved = shifted(pair, feeds, shifts, sub=True)
    found = other.predict(moved)["p"]
    np.testing.assert_allclose(found, pair.predict(feeds)["p"], rtol=1e-5, atol=1e-6)


def test_the_first_bias_corrected_is_the_same_pair() -> None:
    """Kindermans' own surgery, b₂ = b − wᵀm, in numpy: same outputs, and the same map of input_x_gradient."""
    model, x, m = explainsvc.load(models.linear()), numbers(5, 4), np.array([2, 0, 0, 0], np.float32)
    w, b = models.weights("w", 4, 3), models.weights("b", 3)
    corrected = model.with_weights({"b": b - m @ w})
    other, moved = shifted(model, {"x": x}, {"x": m}, sub=True)
    np.testing.assert_array_equal(moved["x"], x + m)
    np.testing.assert_allclose(other.predict({"x": x + m})["y"], corrected.predict({"x": x + m})["y"], rtol=1e-5, atol=1e-6)
    found, expected = (f.explain({"x": x + m}, "input_x_gradient", target=1).values["x"] for f in (other, corrected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, (x + m) * w[:, 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "lrp_epsilon"])
def test_what_multiplies_by_the_input_shows_the_pattern(method: str) -> None:
    """A cross of shifted pixels appears in the map while the output stays."""
    cross = np.zeros((2, 8, 8))
    cross[:, 3, :] = cross[:, :, 4] = 1
    parameters = {NAME: {"pattern": cross, "strength": 2.0}}
    report = cnn().audit(pictures(8), methods=[method, "gradient"], checks=[NAME], parameters=parameters)
    assert report.verdicts[method, NAME] == "fail"
    assert row(report, method, MAIN).low > 0.1
    assert row(report, method, "pattern_after").mean == pytest.approx(
        row(report, method, "pattern_before").mean + row(report, method, MAIN).mean
    )
    assert report.verdicts["gradient", NAME] == "pass"


def test_the_gradient_of_both_models_is_the_same() -> None:
    """No gain by the default pattern, correlation 1: no ReLU of this model is near its corner."""
    report = explainsvc.load(models.mlp(activation="Tanh")).audit({"x": numbers(6, 6)}, methods=["gradient"], checks=[NAME])
    assert report.verdicts["gradient", NAME] == "pass"
    assert row(report, "gradient", MAIN).mean == 0
    assert row(report, "gradient", "spearman").mean == pytest.approx(1)
    assert "1 of 6 elements are shifted" in row(report, "gradient", MAIN).note


def test_gains_are_counted_by_hand() -> None:
    """x·w with one element shifted by 100 ranges: its product is the largest of every map after, as the formula says before."""
    model, x = explainsvc.load(models.linear()), numbers(6, 4)
    pattern = np.array([0, 0, 1, 0])
    report = model.audit({"x": x}, methods=["input_x_gradient"], checks=[NAME], target=1,
                         parameters={NAME: {"pattern": pattern, "strength": 100.0}})  # fmt: skip
    before = np.abs(x * models.weights("w", 4, 3)[:, 1]).argmax(axis=1) == 2
    assert row(report, "input_x_gradient", "pattern_before").mean == pytest.approx(before.mean())
    assert row(report, "input_x_gradient", "pattern_after").mean == 1


@pytest.mark.parametrize("pattern", [np.ones((3, 3)), np.ones(4), np.zeros(4)])
def test_patterns_that_do_not_fit_are_refused(pattern: Array) -> None:
    """Of another shape, shifted everywhere, or nowhere: the method stays open, with the reason."""
    report = explainsvc.load(models.linear()).audit({"x": numbers(6, 4)}, methods=["gradient"], checks=[NAME],
                                                    parameters={NAME: {"pattern": pattern}})  # fmt: skip
    assert report.verdicts["gradient", NAME] == "inconclusive"
    assert "parameters.pattern" in report.reasons["gradient", NAME]
