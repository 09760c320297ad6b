from __future__ import annotations

import pytest

from explainsvc.checks._distance import DEVIATION
from explainsvc.checks.dummy import NAME
from tests.checks.models import cnn, means_of, numbers, pictures


def test_who_gives_to_an_input_that_is_not_used() -> None:
    """Derivatives and forward differences give exactly nothing; edges and activation maps as much as to the real input."""
    methods = ["gradient", "integrated_gradients", "occlusion", "lrp_epsilon_plus", "sobel", "grad_cam"]
    report = cnn().audit(pictures(8), methods=methods, checks=[NAME])
    for method in methods[:4]:
        assert means_of(report, method, "dummy_share") == [0]
        assert report.verdicts[method, NAME] == "pass"
    assert report.verdicts["sobel", NAME] == "fail"
    assert means_of(report, "grad_cam", "dummy_share") == pytest.approx([0.5])
    assert report.verdicts["grad_cam", NAME] == "fail"
    assert means_of(report, "model", DEVIATION) == [0]


def test_background_rows_hold_for_the_dummy_too() -> None:
    """Rows given for the only input are not refused because there are two now."""
    method = "expected_gradients"
    parameters = {method: {"background": numbers(3, 2, 8, 8), "samples": 20}}
    report = cnn().audit(pictures(5), methods=[method], checks=[NAME], parameters=parameters)
    assert report.verdicts[method, NAME] == "pass"
