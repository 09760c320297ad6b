from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks.max_sensitivity import NAME
from explainsvc.weights import seed_sequence
from tests.checks.models import linear, means_of, ripples, rows, squares, verdicts_of


def test_both_means_are_the_formula() -> None:
    """‖2u‖/‖2x‖ over the same draws, by numpy: largest and mean (Yeh et al. 2019; relative to the map's norm)."""
    x = rows()["x"].astype(np.float64)
    r = 0.02 * np.ptp(x)
    draws = [np.random.default_rng(seed_sequence(0, f"neighbours/{k}")).uniform(-1, 1, x.shape) * r for k in range(10)]
    expected = np.stack([np.linalg.norm(u, axis=1) / np.linalg.norm(x, axis=1) for u in draws])
    report = squares().audit(rows(), methods=["gradient"], checks=[NAME])
    assert means_of(report, "gradient", "max_sensitivity") == pytest.approx([expected.max(axis=0).mean()], rel=1e-3)
    assert means_of(report, "gradient", "avg_sensitivity") == pytest.approx([expected.mean()], rel=1e-3)
    assert report.verdicts["gradient", NAME] == "pass"


def test_a_constant_gradient_is_insensitive_and_ripples_are_not() -> None:
    """0 for a linear model; more than the map itself where its sign turns within the radius."""
    assert means_of(linear().audit(rows(), methods=["gradient"], checks=[NAME]), "gradient", NAME) == [0]
    assert verdicts_of(ripples(), rows(), NAME, ["gradient"]) == {"gradient": "fail"}
