from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks.conservation import NAME
from tests.checks.models import cnn, linear, means_of, pictures, rows, verdicts_of

EPSILON = {"lrp_epsilon": {"epsilon": 1.0}}


def test_what_epsilon_absorbs_is_lost() -> None:
    """One dense layer keeps z/(z ± ε) of S, and loses ε/(|z| + ε): node, numbers and verdict."""
    model, x = linear(), rows(5)
    z = model.predict(x)["y"].max(axis=1).astype(np.float64)
    report = model.audit(x, methods=["lrp_epsilon"], checks=[NAME], parameters=EPSILON)
    assert means_of(report, "lrp_epsilon", "lost") == pytest.approx([np.mean(1 / (np.abs(z) + 1))], rel=1e-4)
    assert means_of(report, "lrp_epsilon", "rest") == pytest.approx([np.mean(1 / (np.abs(z) + 1))], rel=1e-4)
    assert report.verdicts["lrp_epsilon", NAME] == "fail"
    assert "most at dense" in report.reasons["lrp_epsilon", NAME]


def test_without_epsilon_nothing_is_lost() -> None:
    """LRP-0 passes on the same layer, and on a network with biases, whose shares are booked."""
    assert verdicts_of(linear(), rows(5), NAME, ["lrp_0"]) == {"lrp_0": "pass"}
    report = cnn().audit(pictures(8), methods=["lrp_0", "lrp_epsilon_plus"], checks=[NAME])
    assert means_of(report, "lrp_0", "lost")[0] < 1e-5
    assert report.verdicts["lrp_epsilon_plus", NAME] == "pass"


def test_every_node_has_its_books() -> None:
    """One row per node and measure, from the output on; received = handed on + bias + rest."""
    report = cnn().audit(pictures(6), methods=["lrp_epsilon_plus"], checks=[NAME])
    units = [row.unit for row in report.rows if row.measure == "rest"]
    assert units == ["head", "flat", "relu1", "second", "relu0", "first"]
    received, handed, bias, rest = (means_of(report, "lrp_epsilon_plus", m) for m in ("received", "handed_on", "bias", "rest"))
    np.testing.assert_allclose(received, np.sum([handed, bias, rest], axis=0), atol=1e-6)
    assert received[0] == pytest.approx(1)


def test_a_gradient_does_not_conserve() -> None:
    """It has no books: the whole is judged."""
    assert verdicts_of(cnn(), pictures(6), NAME, ["gradient"]) == {"gradient": "fail"}


def test_a_map_that_cancels_fails() -> None:
    """Σ R = S exactly, but Σ |R| is more than the limit times |S|."""
    method, few = "input_x_gradient", {NAME: {"most": 1.0}}
    report = linear().audit(rows(), methods=[method], checks=[NAME], parameters=few)
    assert report.verdicts[method, NAME] == "fail"
    assert "absolute_ratio" in report.reasons[method, NAME]
    x = {"x": np.abs(rows()["x"]) * np.sign(np.random.default_rng([0, 12, 4]).normal(size=(12, 4)))[:, 1].astype(np.float32)}
    found = linear().audit(x, methods=[method], checks=[NAME], target=1)
    assert means_of(found, method, "absolute_ratio") == pytest.approx([1.0])
    assert found.verdicts[method, NAME] == "pass"
