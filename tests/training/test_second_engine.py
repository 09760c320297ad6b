"""The second engine, and the check that asks it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.autograd.shapes import Array
from explainsvc.checks import second_engine as check
from explainsvc.errors import ExtraMissing
from explainsvc.report.report import Report
from explainsvc.training import needing_torch
from tests import models
from tests.models import build, numbers, weights

METHODS = ("gradient", "guided_backprop", "lrp_epsilon")


def audited(model: explainsvc.Model, feeds: Mapping[str, Array], methods: Sequence[str] = METHODS, **given: Any) -> Report:
    """By this check alone."""
    return model.audit(feeds, methods=list(methods), checks=["second_engine"], **given)


def measured(report: Report, method: str) -> dict[str, float]:
    """Measure → its mean."""
    return {row.measure: row.mean for row in report.rows if row.method == method}


def words(report: Report) -> dict[str, str]:
    """Method → verdict."""
    return {method: word for (method, _), word in report.verdicts.items()}


@pytest.fixture(scope="module")
def cnn() -> explainsvc.Model:
    """With a residual sum, pools, a concatenation and a folded BatchNormalization."""
    return explainsvc.load(models.cnn().SerializeToString())


@pytest.fixture(scope="module")
def pictures() -> dict[str, Array]:
    """For it."""
    return {"x": numbers(6, 2, 8, 8)}


NETWORKS: dict[str, tuple[onnx.ModelProto, dict[str, Array]]] = {
    "cnn": (models.cnn(), {"x": numbers(6, 2, 8, 8)}),
    "mlp": (models.mlp(), {"x": numbers(6, 6)}),
    "matmul": (models.matmul_mlp(), {"x": numbers(6, 6)}),
    "relu6": (
        build(
            "g (float[N, 4] x) => (float[N, 3] y) { h = Gemm(x, w, b)  z = Clip(h, low, high)  y = Gemm(z, v) }",
            {
                "w": 3 * weights("w", 4, 8), "b": weights("b", 8), "v": weights("v", 8, 3),
                "low": np.zeros((), np.float32), "high": np.ones((), np.float32),
            },
        ),
        {"x": 2 * numbers(6, 4)},
    ),
    "two inputs": (
        build(
            "g (float[N, 3] a, float[N, 3] b) => (float[N, 2] y) "
            "{ s = Gemm(a, w)  t = Gemm(b, v)  u = Add(s, t)  z = Relu(u)  c = Concat<axis = 1>(z, a)  y = Gemm(c, out) }",
            {"w": weights("w", 3, 5), "v": weights("v", 3, 5), "out": weights("out", 8, 2)},
        ),
        {"a": numbers(6, 3), "b": numbers(6, 3, seed=1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_both_engines_agree(name: str) -> None:
    """To rounding, with no difference that float64 would not explain."""
    proto, feeds = NETWORKS[name]
    report = audited(explainsvc.load(proto.SerializeToString()), feeds)
    assert words(report) == dict.fromkeys(METHODS, "pass")
    for method in METHODS:
        found = measured(report, method)
        assert found["largest_difference"] < 1e-5
        assert 0 < found["largest_rounding"] < 1e-5
        assert found["output_deviation"] < 1e-5


def test_other_targets_and_parameters(cnn: explainsvc.Model, pictures: dict[str, Array]) -> None:
    """An index, a difference of two, an inner value; another ε."""
    for target in (2, {"output": "y", "index": 0, "against": 1}, {"output": "gap", "index": [(1, 0, 0)] * 6}):
        assert set(words(audited(cnn, pictures, target=target)).values()) == {"pass"}
    report = audited(cnn, pictures, ["lrp_epsilon"], parameters={"lrp_epsilon": {"epsilon": 0.3}})
    assert words(report) == {"lrp_epsilon": "pass"}
    assert measured(report, "lrp_epsilon")["largest_difference"] < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_rule_is_found(
    method: str, cnn: explainsvc.Model, pictures: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps 1 % off, as another normalisation would make them."""
    from explainsvc import engine

    right = engine.attribute

    def wrong(*given: Any) -> Any:
        found = right(*given)
        for values in found.values.values():
            values *= np.float32(1.01)
        return found

    monkeypatch.setattr(engine, "attribute", wrong)
    report = audited(cnn, pictures, [method])
    assert words(report) == {method: "fail"}
    assert measured(report, method)["largest_difference"] == pytest.approx(0.01, rel=1e-3)


def test_single_elements_are_not_held_against_a_method() -> None:
    """A unit at its kink moves some elements of a map: more inputs would tell."""
    own = {"largest_difference": 0.01, "largest_rounding": 1e-7, "median_difference": 1e-7, "output_deviation": 1e-7}
    assert verdict(own).word == "inconclusive"
    assert verdict(own | {"largest_rounding": 0.005}).word == "pass"
    assert verdict(own | {"median_difference": 1e-3}).word == "fail"
    assert verdict(own | {"output_deviation": 1e-3}).word == "inconclusive"


def verdict(means: Mapping[str, float]) -> Any:
    """By these measures."""
    from explainsvc.checks.rows import Row

    rows = [Row("second_engine", "gradient", "", 0, "", measure, mean, 0, mean, mean, 6) for measure, mean in means.items()]
    return check._verdict(rows, check.SAME, None)


def test_other_methods_and_models_say_so(cnn: explainsvc.Model, pictures: dict[str, Array]) -> None:
    """What is recomputed; what torch does not know."""
    report = audited(cnn, pictures, ["input_x_gradient"])
    assert words(report) == {"input_x_gradient": "inconclusive"}
    (row,) = report.rows
    assert "input_x_gradient is not recomputed" in row.note
    strange = build("g (float[N, 4] x) => (float[N, 4] y) { z = Hardmax(x)  p = Celu(x)  y = Add(z, p) }")
    (row, *_) = audited(explainsvc.load(strange.SerializeToString()), {"x": numbers(6, 4)}, ["gradient"]).rows
    assert "onnx2torch does not convert it" in row.note


def test_without_the_extra_the_check_says_how_to_get_it(
    cnn: explainsvc.Model, pictures: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the audit goes on."""
    monkeypatch.setattr("explainsvc.training.find_spec", lambda name: None if name == "torch" else importlib.util.find_spec(name))
    report = audited(cnn, pictures, ["gradient"])
    assert words(report) == {"gradient": "inconclusive"}
    assert "pip install 'explainsvc[train]'" in report.rows[0].note


def test_an_extra_that_cannot_be_imported_is_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandboxed worker may find torch by what it knew of the folders, and cannot read it."""
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    with pytest.raises(ExtraMissing, match="the workers of a server have none"), needing_torch("this"):
        importlib.import_module("onnx2torch")
