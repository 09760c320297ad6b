from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks import maps
from explainsvc.checks.completeness import NAME
from tests.checks.models import cnn, linear, means_of, pictures, rows, verdicts_of


def test_gradient_times_input_of_a_linear_model_is_complete() -> None:
    """Σ x·w = S without a bias, to rounding; with one, b is missing."""
    assert verdicts_of(linear(), rows(), NAME, ["input_x_gradient"]) == {"input_x_gradient": "pass"}
    strict = {NAME: {"tolerance": 0.01}}
    assert verdicts_of(linear(bias=True), rows(), NAME, ["input_x_gradient"], **strict) == {"input_x_gradient": "fail"}


def test_the_residual_is_the_formula() -> None:
    """|Σ w − x·w| / |x·w| for the gradient, whose card claims no sum: said in the reason."""
    model, x = linear(), rows()
    report = model.audit(x, methods=["gradient"], checks=[NAME], target=2)
    w = np.random.default_rng([0, 12, 4]).normal(size=(12, 4)).astype(np.float32)[:, 2].astype(np.float64)
    S = x["x"] @ w
    assert means_of(report, "gradient", "relative_residual")[0] == pytest.approx(
        np.mean(np.abs(w.sum() - S) / np.abs(S)), rel=1e-4
    )
    assert report.verdicts["gradient", NAME] == "fail"
    assert "does not claim" in report.reasons["gradient", NAME]


def test_a_difference_is_held_against_both_forward_passes() -> None:
    """Integrated gradients sum to S(x) − S(x′) for any x′; with one step at x′ they do not."""
    method = "integrated_gradients"
    exact, rough = {"baseline": 0.3}, {"baseline": 0.3, "steps": 1, "rule": "left"}
    assert verdicts_of(cnn(), pictures(8), NAME, [method], **{method: exact}) == {method: "pass"}
    assert verdicts_of(cnn(), pictures(8), NAME, [method], **{method: rough}) == {method: "fail"}


def test_a_feature_counts_once() -> None:
    """Shapley values of pixels stand at both channels; their sum over pixels is what is claimed."""
    method = "kernel_shap"
    assert verdicts_of(cnn(), pictures(6), NAME, [method], **{method: {"feature_mask": "pixel"}}) == {method: "pass"}


def test_groups_keep_the_value_at_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that states S(x′) states it for all items, however they were grouped."""
    method = "expected_gradients"
    parameters = {method: {"background": pictures(4)["x"], "samples": 200}}
    whole = cnn().audit(pictures(8), methods=[method], checks=[NAME], parameters=parameters)
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 4 * 128)
    parts = cnn().audit(pictures(8), methods=[method], checks=[NAME], parameters=parameters)
    assert means_of(parts, method, "claimed") == pytest.approx(means_of(whole, method, "claimed"), rel=1e-5)
