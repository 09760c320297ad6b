"""bam: objects of which it is known what they matter, by how the model was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import explainsvc
from explainsvc.checks._saliency import Part, Pixels
from explainsvc.checks.bam import NAME, object_attribution
from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidParameter
from explainsvc.report.report import Report
from tests.checks.models import Array, built, numbers

MASK = np.zeros((8, 8), np.int64)
MASK[2:4, 4:7] = 1


def seen(weights: Array) -> onnx.ModelProto:
    """x [n, 1, 8, 8] → two logits, both linear in the pixels: weights [64, 2]."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"], "flat"), helper.make_node("Gemm", ["f", "w"], ["y"], "head")]
    return built(nodes, ["n", 1, 8, 8], {"w": weights.astype(np.float32)})


def indifferent() -> onnx.ModelProto:
    """The object's pixels have weight 1 in both logits: they never decide. Outside the logits have weights of their own."""
    w = np.abs(numbers(64, 2)) * np.array([1.0, 0.5])
    w[MASK.reshape(-1) == 1] = 1
    return seen(w)


def audited(proto: onnx.ModelProto, methods: list[str], **parameters: Any) -> Report:
    """The check on positive pictures, of which class 0 is always predicted."""
    x = {"x": 0.5 + np.abs(numbers(8, 1, 8, 8, seed=3))}
    return explainsvc.load(proto).audit(x, methods=methods, checks=[NAME], parameters={NAME: parameters})


def row(report: Report, method: str, measure: str) -> Row:
    """The only row of a measure."""
    (found,) = [r for r in report.rows if (r.method, r.measure) == (method, measure)]
    return found


def test_input_independence() -> None:
    """The gradient does not see the object (rate 1); what multiplies by the input does (rate 0): it is ten times as bright."""
    report = audited(indifferent(), ["gradient", "input_x_gradient"], masks=MASK, objects=np.array(10.0))
    assert row(report, "gradient", "prediction_kept").mean == 1
    assert (row(report, "gradient", "input_independence").mean, report.verdicts["gradient", NAME]) == (1, "pass")
    assert (row(report, "input_x_gradient", "input_independence").mean, report.verdicts["input_x_gradient", NAME]) == (0, "fail")


@pytest.mark.parametrize(("brightness", "verdict"), [(0.0, "pass"), (10.0, "fail")])
def test_input_dependence(brightness: float, verdict: str) -> None:
    """A black object gets less from input_x_gradient than what it covers, a bright one more."""
    report = audited(indifferent(), ["input_x_gradient"], metric="input_dependence", masks=MASK, objects=np.array(brightness))
    assert report.verdicts["input_x_gradient", NAME] == verdict
    assert row(report, "input_x_gradient", "input_dependence").mean == (1 if verdict == "pass" else 0)


def test_model_contrast() -> None:
    """One model looks at the object only, the other never does: contrast 1 for the gradient, 0 for edges of the input."""
    inside = MASK.reshape(-1, 1) * np.array([1.0, 0.5])
    outside = (1 - MASK).reshape(-1, 1) * np.array([1.0, 0.5])
    other = np.frombuffer(seen(outside).SerializeToString(), np.uint8)
    report = audited(seen(inside), ["gradient", "sobel"], metric="model_contrast", masks=MASK, other=other)
    assert (row(report, "gradient", "model_contrast").mean, report.verdicts["gradient", NAME]) == (1, "pass")
    assert (row(report, "sobel", "model_contrast").mean, report.verdicts["sobel", NAME]) == (0, "fail")
    swapped = np.frombuffer(seen(inside).SerializeToString(), np.uint8)
    report = audited(seen(outside), ["gradient"], metric="model_contrast", masks=MASK, other=swapped)
    assert (row(report, "gradient", "model_contrast").mean, report.verdicts["gradient", NAME]) == (-1, "fail")


def test_what_changes_the_prediction_is_left_out() -> None:
    """An object that decides says nothing about its map: no input is left, the verdict stays open."""
    w = np.abs(numbers(64, 2)) * np.array([1.0, 0.5])
    w[MASK.reshape(-1) == 1] = [0, 50]
    x = {"x": numbers(8, 1, 8, 8, seed=3)}
    x["x"][:, :, 2:4, 4:7] = -1
    report = explainsvc.load(seen(w)).audit(x, methods=["gradient"], checks=[NAME],
                                            parameters={NAME: {"masks": MASK, "objects": np.array(10.0)}})  # fmt: skip
    found = row(report, "gradient", "input_independence")
    assert (found.n, report.verdicts["gradient", NAME]) == (0, "inconclusive")
    assert "8 of 8 inputs left out" in found.note


def test_the_attribution_of_an_object_is_the_authors() -> None:
    """Positive parts summed over channels, clipped at the 99th percentile, scaled, averaged inside; one picture by hand."""
    values = numbers(1, 2 * 64)
    inside = (MASK == 1).reshape(1, -1)
    plane = np.maximum(values.reshape(2, 64).astype(np.float64), 0).sum(axis=0)
    high = np.percentile(plane, 99)
    expected = np.clip((plane - plane.min()) / (high - plane.min()), 0, 1)[inside[0]].mean()
    found = object_attribution(Pixels((Part("x", (2, 8, 8), (1, 2)),), True), values, inside)
    np.testing.assert_allclose(found, [expected])
    assert np.isnan(object_attribution(Pixels((Part("x", (2, 8, 8), (1, 2)),), True), 0 * values, inside)).all()


def test_without_masks_a_square_in_the_middle_is_painted() -> None:
    """Two by two of eight by eight pixels; the gradient of a linear model does not see it."""
    report = audited(indifferent(), ["gradient"])
    assert report.verdicts["gradient", NAME] == "pass"
    table = explainsvc.load(built([helper.make_node("Gemm", ["x", "w"], ["y"])], ["n", 4], {"w": numbers(4, 3)}))
    refused = table.audit({"x": numbers(6, 4)}, methods=["gradient"], checks=[NAME])
    assert "parameters.masks" in refused.reasons["gradient", NAME]


def test_the_contrast_says_what_it_lacks() -> None:
    """Another model and masks, both listed; bytes that are no bytes."""
    with pytest.raises(InvalidParameter, match=r"parameters\.other.*parameters\.masks"):
        audited(indifferent(), ["gradient"], metric="model_contrast")
    with pytest.raises(InvalidParameter, match=r"np\.fromfile"):
        audited(indifferent(), ["gradient"], metric="model_contrast", masks=MASK, other=np.array([0.5, 3]))


def test_a_large_parameter_is_recorded_by_its_digest() -> None:
    """The report names a second model by sha256, not by all its bytes."""
    padded = seen(MASK.reshape(-1, 1) * np.array([1.0, 0.5]))
    padded.doc_string = "x" * 20_000
    other = np.frombuffer(padded.SerializeToString(), np.uint8)
    report = audited(indifferent(), ["gradient"], metric="model_contrast", masks=MASK, other=other)
    assert set(report.header["checks"][NAME]["parameters"]["other"]) == {"shape", "dtype", "sha256"}
