from __future__ import annotations

import pytest

from explainsvc.checks.linearity import NAME
from tests.checks.models import cnn, means_of, pictures, rows, squares


def test_who_is_linear_in_the_output() -> None:
    """Gradients, integrals and relevance are; a variance of gradients and a map that ignores the output are not."""
    methods = ["gradient", "integrated_gradients", "lrp_epsilon_plus", "vargrad", "sobel"]
    report = cnn().audit(pictures(8), methods=methods, checks=[NAME])
    assert [report.verdicts[method, NAME] for method in methods] == ["pass", "pass", "pass", "fail", "fail"]
    # E does not depend on S: |1 − 1 + 1/2| / (1 + 1/2)
    assert means_of(report, "sobel", "linearity_error") == pytest.approx([1 / 3])


def test_one_element_has_no_other() -> None:
    """Nothing can be combined: the method stays open, with the reason."""
    report = squares().audit(rows(), methods=["gradient"], checks=[NAME])
    assert report.verdicts["gradient", NAME] == "inconclusive"
    assert "one element" in report.reasons["gradient", NAME]
