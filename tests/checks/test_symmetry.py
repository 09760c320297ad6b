from __future__ import annotations

from explainsvc.checks._distance import DEVIATION
from explainsvc.checks.symmetry import NAME
from tests.checks.models import cnn, means_of, pictures


def test_equal_halves_get_the_same() -> None:
    """Derivatives, path integrals and rules treat both alike; random numbers do not."""
    methods = ["gradient", "integrated_gradients", "lrp_epsilon_plus", "random"]
    report = cnn().audit(pictures(8), methods=methods, checks=[NAME])
    assert [report.verdicts[method, NAME] for method in methods] == ["pass", "pass", "pass", "fail"]
    assert means_of(report, "gradient", "relative_difference") == [0]
    assert means_of(report, "model", DEVIATION) == [0]
