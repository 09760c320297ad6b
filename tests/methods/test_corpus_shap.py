"""The Shapley family on forests and linear models that other people exported, where the corpus is beside this checkout."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests.models import Array
from tests.test_corpus import CORPUS, FOLDERS, case

pytestmark = pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout")


def samples(name: str) -> list[dict[str, Array]]:
    """All samples of a model, each [1, ...] per input."""
    count = len(np.load(CORPUS / name / "inputs.npz")["in0"])
    return [case(CORPUS / name, k)[0] for k in range(count)]


def scores(name: str) -> Any:
    """The model with the sums of its last ai.onnx.ml node as they are, and without the normaliser behind: its linear score."""
    proto = onnx.load(CORPUS / name / "model.onnx")
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "post_transform":
                attribute.s = b"NONE"
        if node.op_type == "Normalizer":
            node.CopyFrom(helper.make_node("Identity", node.input, node.output, name=node.name))
    return explainsvc.load(proto)


def coefficients(name: str) -> Array:
    """Of the LinearClassifier, [classes, columns]."""
    proto = onnx.load(CORPUS / name / "model.onnx")
    node = next(n for n in proto.graph.node if n.op_type == "LinearClassifier")
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return np.array(values["coefficients"]).reshape(len(values["intercepts"]), -1)


def test_a_forest_of_four_features() -> None:
    """iris-rf-sklearn: all 16 coalitions of onnxruntime's own forest, three flowers against the other eighteen."""
    flowers = np.concatenate([f["X"] for f in samples("iris-rf-sklearn")])
    model = explainsvc.load(CORPUS / "iris-rf-sklearn" / "model.onnx")
    found, expected = (
        model.explain({"X": flowers[::7]}, method, background=np.delete(flowers, [0, 7, 14], axis=0))
        for method in ("tree_shap", "exact_shap")
    )
    np.testing.assert_allclose(found.values["X"], expected.values["X"], atol=2e-6)
    assert np.abs(found.residual).max() < 2e-6
    assert np.abs(found.values["X"]).max() > 0.1


def test_a_forest_of_286_features() -> None:
    """coffee-rf-sklearn in ten groups of neighbouring wavelengths: all 1024 coalitions; alone, values that sum up."""
    spectra = np.concatenate([f["float_input"] for f in samples("coffee-rf-sklearn")])
    model = explainsvc.load(CORPUS / "coffee-rf-sklearn" / "model.onnx")
    options: dict[str, Any] = {"background": spectra[5:15], "feature_mask": np.arange(286) // 29}
    found, expected = (model.explain({"float_input": spectra[:2]}, m, **options) for m in ("tree_shap", "exact_shap"))
    np.testing.assert_allclose(found.values["float_input"], expected.values["float_input"], atol=1e-5)
    alone = model.explain({"float_input": spectra[:2]}, "tree_shap", background=spectra[5:15]).values["float_input"]
    sums = np.array([np.bincount(np.arange(286) // 29, v) for v in alone])
    np.testing.assert_allclose(sums.sum(axis=1), found.output_value - found.baseline_value, atol=1e-5)
    assert np.abs(alone).max() > 0.01


def test_boosted_trees_behind_a_scaler() -> None:
    """lightgbm-pipeline: its SOFTMAX is refused; the sums are explained, from the raw features through the Scaler."""
    inputs = [f["input"] for f in samples("lightgbm-pipeline")]
    whole = explainsvc.load(CORPUS / "lightgbm-pipeline" / "model.onnx")
    with pytest.raises(MethodNotApplicable, match="SOFTMAX"):
        whole.explain({"input": inputs[0]}, "tree_shap", target=0)
    sums = scores("lightgbm-pipeline")
    rows = np.concatenate(inputs[1:])
    rows = rows if sums.batched({"input": inputs[0]}) else rows[:, None]
    found, expected = (sums.explain({"input": inputs[0]}, m, target=1, background=rows) for m in ("tree_shap", "exact_shap"))
    np.testing.assert_allclose(found.values["input"], expected.values["input"], atol=1e-5)
    assert np.abs(found.values["input"]).max() > 0.1


def test_handwritten_digits_by_logistic_regression() -> None:
    """mnist-logreg-sklearn: w (x − x′) of the linear score, in closed form and by regression on coalitions of 784 pixels."""
    name = "mnist-logreg-sklearn"
    x, row = (samples(name)[k]["float_input"] for k in (0, 1))
    model, w = scores(name), coefficients(name)
    expected = w[3] * (x.astype(float) - row)
    size = np.abs(expected).max()
    found = model.explain({"float_input": x}, "linear_shap", target=3, background=row)
    np.testing.assert_allclose(found.values["float_input"], expected, atol=1e-4 * size)
    with pytest.raises(MethodNotApplicable, match="LinearClassifier"):
        explainsvc.load(CORPUS / name / "model.onnx").explain({"float_input": x}, "linear_shap", target=3)
    regressed = model.explain({"float_input": x}, "kernel_shap", target=3, background=row, batch_size=256)
    np.testing.assert_allclose(regressed.values["float_input"], expected, atol=1e-3 * size)


def test_flowers_by_a_linear_model() -> None:
    """iris-logreg-tribuo: the value before its Softmax has a name."""
    name = "iris-logreg-tribuo"
    x, rows = samples(name)[0]["input"], np.concatenate([f["input"] for f in samples(name)[1:]])
    proto = onnx.load(CORPUS / name / "model.onnx")
    w = onnx.numpy_helper.to_array(next(t for t in proto.graph.initializer if "weights" in t.name))
    target = {"output": "input_linear_sgd_weights_linear_sgd_bias_0", "index": 1}
    model = explainsvc.load(proto)
    expected = w[:, 1] * (x - rows.mean(axis=0))
    for method in ("linear_shap", "kernel_shap", "sampling_shap", "partition_shap", "exact_shap"):
        found = model.explain({"input": x}, method, target=target, background=rows)
        np.testing.assert_allclose(found.values["input"], expected, atol=1e-4 * np.abs(expected).max())


def test_passengers_by_a_pipeline_of_five_inputs() -> None:
    """titanic-pipeline-sklearn: age and fare through Imputer and Scaler; the class, an integer, by coalitions."""
    name = "titanic-pipeline-sklearn"
    feeds, other = samples(name)[0], samples(name)[1]
    model, w = scores(name), coefficients(name)
    proto = onnx.load(CORPUS / name / "model.onnx")
    scale = next(a.floats for n in proto.graph.node if n.op_type == "Scaler" for a in n.attribute if a.name == "scale")
    numbers = ("age", "fare")
    rows = {n: other[n] for n in numbers}
    expected = {n: w[1, k] * scale[k] * (feeds[n] - other[n]) for k, n in enumerate(numbers)}
    for method in ("linear_shap", "kernel_shap", "exact_shap"):
        found = model.explain(feeds, method, target=1, inputs=numbers, background=rows)
        for n in numbers:
            np.testing.assert_allclose(found.values[n], expected[n], atol=1e-5)
    three = model.explain(
        feeds, "exact_shap", target=1, inputs=(*numbers, "pclass"), background=rows | {"pclass": other["pclass"]}
    )
    ranks = [int(f["pclass"].item()) for f in (feeds, other)]
    first = 2 + 4 + 2  # after two numbers, four ports and two sexes
    np.testing.assert_allclose(three.values["pclass"], w[1, first + ranks[0] - 1] - w[1, first + ranks[1] - 1], atol=1e-5)
