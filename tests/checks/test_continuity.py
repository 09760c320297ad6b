from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks.continuity import NAME
from tests.checks.models import cnn, linear, means_of, pictures, rows, squares


def test_a_constant_gradient_is_continuous() -> None:
    """Of a linear model the gradient is the same everywhere: all measures of its change are 0."""
    report = linear().audit(rows(), methods=["gradient"], checks=[NAME])
    assert report.verdicts["gradient", NAME] == "pass"
    assert means_of(report, "gradient", "lipschitz") == [0]
    assert means_of(report, "gradient", "ratio_to_change") == [0]


def test_the_lipschitz_constant_of_squares() -> None:
    """∂/∂x Σ x² = 2x changes by exactly twice what x does, wherever x̃ lies."""
    report = squares().audit(rows(), methods=["gradient"], checks=[NAME])
    assert means_of(report, "gradient", "lipschitz") == pytest.approx([2], rel=1e-4)
    assert report.verdicts["gradient", NAME] == "pass"


def test_translations() -> None:
    """27 steps from each place to the next; they are measured only when asked for, and only of pictures."""
    asked = {NAME: {"translations": True, "samples": 1}}
    report = cnn().audit(pictures(5), methods=["input"], checks=[NAME], parameters=asked)
    moved = [row for row in report.rows if row.order == "translation" and row.measure == "map_change"]
    assert [row.amount for row in moved] == list(range(-13, 14))
    # the map is the input itself: it changes as much as the input does, and not at all while only the edge is seen
    assert [row.mean for row in report.rows if row.order == "translation" and row.measure == "lipschitz"] == pytest.approx([1])
    assert moved[0].mean == 0
    x = pictures(5)["x"].astype(np.float64)
    step = np.concatenate([x[..., :1], x[..., :-1]], axis=-1) - x
    expected = np.linalg.norm(step.reshape(5, -1), axis=1) / np.linalg.norm(x.reshape(5, -1), axis=1)
    assert moved[14].mean == pytest.approx(expected.mean(), rel=1e-5)
    refused = linear().audit(rows(), methods=["gradient"], checks=[NAME], parameters=asked)
    assert "expected pictures" in refused.reasons["gradient", NAME]


def test_inputs_without_a_range_do_not_move() -> None:
    """Of constant inputs the radius is 0: no change of anything, and no NaN."""
    report = linear().audit({"x": np.ones((6, 12), np.float32)}, methods=["random"], checks=[NAME])
    assert all(row.mean == 0 for row in report.rows)
