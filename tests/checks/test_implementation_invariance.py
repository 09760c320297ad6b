from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.checks import _surgery
from explainsvc.checks._distance import DIFFERENCE
from explainsvc.checks._rewriting import REWRITINGS, Rewriting
from explainsvc.checks.implementation_invariance import NAME
from tests import models
from tests.checks.models import Array, cnn, numbers, pictures

SOURCES: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "cnn": (models.cnn, (3, 2, 8, 8)),
    "mlp": (models.mlp, (3, 6)),
    "matmul_mlp": (models.matmul_mlp, (3, 6)),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rewriting", REWRITINGS, ids=lambda r: r.name)
def test_a_rewriting_keeps_the_function_and_changes_the_graph(rewriting: Rewriting, source: str) -> None:
    """onnxruntime gives the same outputs to rounding; nodes, names or opset are others."""
    made, shape = SOURCES[source]
    proto = made()
    x: dict[str, Array] = {"x": numbers(*shape)}
    before = proto.SerializeToString()
    found = rewriting.apply(proto, ())
    assert proto.SerializeToString() == before
    if found is None:
        return
    assert found.SerializeToString() != before
    expected = explainsvc.load(proto).predict(x)["y"]
    np.testing.assert_allclose(_surgery.as_model(found).predict(x)["y"], expected, atol=1e-5 * np.abs(expected).max())


def test_every_rewriting_finds_an_occasion() -> None:
    """On one of the three models at least: none of them is dead."""
    protos = [made() for made, _ in SOURCES.values()]
    assert [r.name for r in REWRITINGS if all(r.apply(p, ()) is None for p in protos)] == []


def test_derivatives_and_preparation_pass_and_rules_fail() -> None:
    """Derivatives agree, and rules where preparation makes one layer of both; LRP has no rule for |x|, RevealCancel has one."""
    methods = ["gradient", "integrated_gradients", "lrp_epsilon_plus", "deep_taylor", "deeplift_reveal_cancel"]
    report = cnn().audit(pictures(6), methods=methods, checks=[NAME])
    words = ["pass", "pass", "inconclusive", "inconclusive", "fail"]
    assert [report.verdicts[method, NAME] for method in methods] == words
    assert "relu_as_abs" in report.reasons["deeplift_reveal_cancel", NAME]
    furthest = {m: max(r.mean for r in report.rows if r.method == m and r.measure == DIFFERENCE and r.n) for m in methods[:4]}
    assert max(furthest.values()) < 1e-4


def test_a_refused_graph_is_not_a_pass() -> None:
    """Guided backprop needs ReLUs: where they are written by magnitudes it refuses, and the verdict stays open."""
    report = cnn().audit(pictures(6), methods=["guided_backprop"], checks=[NAME])
    assert report.verdicts["guided_backprop", NAME] == "inconclusive"
    assert "relu_as_abs" in report.reasons["guided_backprop", NAME]
