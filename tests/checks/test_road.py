from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks._imputation import imputed
from explainsvc.errors import InvalidParameter
from tests.checks.judged import judged, linear, negated, row_of, subject_of, uniform, with_maps
from tests.checks.models import cnn, numbers, pictures


def test_rows_are_those_of_a_loop() -> None:
    """Without noise: every item imputed and predicted alone gives the confidence and the agreement."""
    model, x = cnn(), pictures(5)["x"]
    subject = subject_of(model, {"x": x}, ["gradient"])
    rows, _ = judged(subject, "road", percentages=[25, 50], noise=0)
    target = model.predict({"x": x})["y"].argmax(axis=1)
    pixels = subject.explained[0].result.values["x"].astype(float).sum(axis=1).reshape(5, 64)
    for order, sign in (("morf", -1), ("lerf", 1)):
        for step, count in ((1, 16), (2, 32)):
            outputs = []
            for k in range(5):
                missing = np.zeros(64, bool)
                missing[np.argsort(sign * pixels[k])[:count]] = True
                filled = imputed(x[k], np.broadcast_to(missing.reshape(1, 8, 8), (2, 8, 8)))
                outputs.append(model.predict({"x": filled[None].astype(np.float32)})["y"][0])
            confidence = row_of(rows, "gradient", "confidence", order, step)
            assert confidence.mean == pytest.approx(np.diag(np.array(outputs)[:, target]).mean(), rel=1e-4)
            assert confidence.amount == count / 64
            same = np.mean([out.argmax() == t for out, t in zip(outputs, target, strict=True)])
            assert row_of(rows, "gradient", "argmax_agreement", order, step).mean == pytest.approx(same)


def test_the_noise_has_its_size() -> None:
    """A linear model of one weight everywhere: S moves by the noise alone, σ·√(imputed elements)."""
    x = np.ones((200, 1, 6, 6), np.float32)
    subject = subject_of(linear(1, 6, 6), {"x": x}, ["gradient"])
    rows, _ = judged(subject, "road", percentages=[50], noise=0.1)
    weights = np.abs(subject.explained[0].result.values["x"][0].ravel())
    gone = np.argsort(-subject.explained[0].result.values["x"][0].ravel())[:18]
    expected = 0.1 * np.sqrt(np.square(weights[gone]).sum())
    assert row_of(rows, "gradient", "confidence", "morf", 1).std == pytest.approx(expected, rel=0.2)


def test_accuracy_where_labels_are_given() -> None:
    """Labels that the model never gives are never met."""
    model, x = cnn(), pictures(5)
    wrong = (model.predict(x)["y"].argmin(axis=1)).astype(int)
    rows, _ = judged(subject_of(model, x, ["gradient"], labels=wrong), "road", percentages=[10])
    assert row_of(rows, "gradient", "accuracy", "morf", 0).mean == 0
    assert not [row for row in rows if row.measure == "argmax_agreement"]


def test_a_right_order_passes_and_its_negation_and_a_uniform_map_fail() -> None:
    """White noise seen by a linear model: imputed pixels are near 0, so that w·x ranks rightly."""
    subject = subject_of(linear(1, 8, 8), {"x": numbers(12, 1, 8, 8)}, ["input_x_gradient"])
    rows, verdicts = judged(with_maps(subject, opposite=negated, flat=uniform), "road")
    assert [v.word for v in verdicts.values()] == ["pass", "fail", "fail"]
    assert np.isnan(row_of(rows, "flat", "argmax_agreement", "morf", 0).mean)


def test_wrong_shares_and_rows_of_numbers_are_refused() -> None:
    """Shares rise between 0 and 100; only pixels can be imputed."""
    subject = subject_of(cnn(), pictures(5), ["gradient"])
    for wrong in ([], [0, 10], [50, 20], [90, 101]):
        with pytest.raises(InvalidParameter, match="percentages"):
            judged(subject, "road", percentages=wrong)
    report = linear(6).audit({"x": numbers(6, 6)}, methods=["gradient"], checks=["road"])
    assert "no two spatial axes" in report.reasons["gradient", "road"]
