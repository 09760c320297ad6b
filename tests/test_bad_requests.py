"""What bad input gets: a typed error that says what, where, what was expected and what to do; the model lives on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc import errors
from explainsvc.methods import METHODS
from tests import models
from tests.models import numbers

MLP, CNN, LABELLED, EMBEDDING = models.mlp(), models.cnn(), models.labelled(), models.embedding()
X = {"x": numbers(2, 6)}
IMAGES = {"x": numbers(2, 2, 8, 8)}
WORDS = {"x": numbers(2, 4), "word": np.array(["a", "b"])}
IDS = {"ids": np.arange(10).reshape(2, 5)}
Row = tuple[onnx.ModelProto, Any, dict[str, Any], type[errors.ExplainsvcError], str]

REQUESTS: dict[str, Row] = {
    "input missing": (MLP, {}, {}, errors.InvalidInput, 'inputs["x"]'),
    "input misspelt": (MLP, {"y": X["x"]}, {}, errors.InvalidInput, 'inputs["y"]'),
    "dtype": (MLP, {"x": X["x"].astype(np.float64)}, {}, errors.InvalidInput, "float32"),
    "shape": (MLP, {"x": numbers(2, 7)}, {}, errors.InvalidInput, "[2, 7]"),
    "NaN": (MLP, {"x": np.full((1, 6), np.nan, np.float32)}, {}, errors.InvalidInput, "NaN"),
    "not a mapping": (MLP, X["x"], {}, errors.InvalidInput, "inputs"),
    "items differ": (models.two_by_two(), {"a": numbers(3, 3), "b": numbers(2, 2)}, {}, errors.InvalidInput, "onnxruntime"),
    "target": (MLP, X, {"target": 3}, errors.TargetOutOfRange, "3"),
    "target's output": (MLP, X, {"target": {"output": "z"}}, errors.TargetOutOfRange, '"z"'),
    "target is labels": (models.trees(), {"x": numbers(2, 2)}, {"target": {"output": "label", "index": 0}, "method": "occlusion"},
                         errors.TargetOutOfRange, "int64"),
    "method": (MLP, X, {"method": "deep_dream"}, errors.UnknownMethod, "deep_dream"),
    "parameter": (MLP, X, {"method": "integrated_gradients", "step": 3}, errors.InvalidParameter, "parameters.step"),
    "parameter's value": (MLP, X, {"method": "integrated_gradients", "steps": 0}, errors.InvalidParameter, "parameters.steps"),
    "parameter of a method without any": (MLP, X, {"steps": 3}, errors.InvalidParameter, "parameters.steps"),
    "base method": (MLP, X, {"method": "smoothgrad", "base": "deep_dream"}, errors.UnknownMethod, "deep_dream"),
    "base is none": (MLP, X, {"method": "smoothgrad", "base": "gradiet"}, errors.UnknownMethod, "parameters.base: is"),
    "base that wraps": (MLP, X, {"method": "smoothgrad", "base": "vargrad"}, errors.InvalidParameter, "expected a method that"),
    "layer is none": (CNN, IMAGES, {"method": "grad_cam", "layer": "nope"}, errors.TargetOutOfRange, "parameters.layer: the"),
    "bounds crossed": (CNN, IMAGES, {"method": "lrp_z_box", "low": [1, 3], "high": 2}, errors.InvalidParameter,
                       "parameters.low: is up to 3, expected nowhere above high, which is from 2"),
    "base is a wrapper": (MLP, X, {"method": "smoothgrad", "base": "vargrad"}, errors.InvalidParameter, "parameters.base"),
    "base parameters": (MLP, X, {"method": "smoothgrad", "base_parameters": {"a": 1}}, errors.InvalidParameter, "parameters.a"),
    "baseline's name": (MLP, X, {"method": "integrated_gradients", "baseline": "grey"}, errors.InvalidParameter, "grey"),
    "baseline's shape": (MLP, X, {"method": "occlusion", "baseline": np.ones(5)}, errors.InvalidParameter, "[5]"),
    "baseline's input": (MLP, X, {"method": "occlusion", "baseline": {"z": 0}}, errors.InvalidParameter, "'z'"),
    "baseline's inner value": (MLP, X, {"method": "occlusion", "baseline": {"x": "grey"}}, errors.InvalidParameter, "grey"),
    "baseline without space": (MLP, X, {"method": "occlusion", "baseline": "blur"}, errors.InvalidParameter, "blur"),
    "window": (CNN, IMAGES, {"method": "occlusion", "window": [3, 3]}, errors.InvalidParameter, "parameters.window"),
    "window of zero": (CNN, IMAGES, {"method": "occlusion", "window": 0}, errors.InvalidParameter, "parameters.window"),
    "wanted input": (MLP, X, {"inputs": ["z"]}, errors.InvalidInput, '"z"'),
    "no wanted input": (MLP, X, {"inputs": []}, errors.InvalidInput, "inputs"),
    "wanted input twice": (MLP, X, {"inputs": ["x", "x"]}, errors.InvalidInput, '"x"'),
    "seed": (MLP, X, {"method": "smoothgrad", "seed": -1}, errors.InvalidParameter, "seed"),
    "seed is a word": (MLP, X, {"method": "smoothgrad", "seed": "one"}, errors.InvalidParameter, "seed"),
    "no spatial activations": (MLP, X, {"method": "grad_cam"}, errors.MethodNotApplicable, "spatial"),
    "layer without space": (CNN, IMAGES, {"method": "grad_cam", "layer": "f"}, errors.MethodNotApplicable, '"f"'),
    "unknown layer": (CNN, IMAGES, {"method": "grad_cam", "layer": "layer9"}, errors.TargetOutOfRange, "layer9"),
    "guided without ReLU": (models.mlp(activation="Tanh"), X, {"method": "guided_backprop"}, errors.MethodNotApplicable, "ReLU"),
    "not a picture": (MLP, X, {"method": "sobel"}, errors.MethodNotApplicable, "picture"),
    "tree by gradient": (models.trees(), {"x": numbers(2, 2)}, {}, errors.ExplainsvcError, "occlusion"),
    "nothing to differentiate": (EMBEDDING, IDS, {}, errors.NothingToDifferentiate, "int64"),
    "softmax asked for": (models.mlp(end="Softmax"), X, {"method": "lrp_epsilon", "target": {"output": "y", "index": 0}},
                          errors.NotDifferentiable, "Softmax"),
}  # fmt: skip


@pytest.mark.parametrize(("proto", "feeds", "request_", "kind", "named"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_bad_request_is_a_typed_error(
    proto: onnx.ModelProto, feeds: Any, request_: dict[str, Any], kind: type[errors.ExplainsvcError], named: str
) -> None:
    """The right class, the culprit by name, and what was expected or what to do; afterwards the model still answers."""
    model = explainsvc.load(proto)
    with pytest.raises(kind) as caught:
        model.explain(feeds, **request_)
    assert named in str(caught.value)
    assert caught.value.expected or caught.value.to_do or caught.value.violations
    if proto is MLP:
        assert model.explain(X).values["x"].shape == (2, 6)


STRINGS = ["gradient", "input_x_gradient", "integrated_gradients", "smoothgrad", "vargrad", "lrp_epsilon", "occlusion", "sobel"]


@pytest.mark.parametrize("method", STRINGS)
def test_a_string_cannot_be_explained(method: str) -> None:
    """Asking for the string input is refused by every method that computes with it, and names the input."""
    model = explainsvc.load(LABELLED)
    with pytest.raises((errors.NothingToDifferentiate, errors.MethodNotApplicable), match="word") as caught:
        model.explain(WORDS, method, target=0, inputs=["word"])
    assert "occlusion" not in caught.value.to_do, "no method explains strings"


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smoothgrad", "lrp_epsilon", "lrp_z_plus"])
def test_the_advice_for_trees_is_what_works_on_trees(method: str) -> None:
    """The error names the operator, and a method that can explain it: no other one that needs its derivative."""
    model = explainsvc.load(models.trees())
    with pytest.raises(errors.NotDifferentiable, match="TreeEnsembleClassifier") as caught:
        model.explain({"x": numbers(2, 2)}, method)
    advised = [name for name in METHODS if name in caught.value.to_do.replace(",", " ").split()]
    assert advised == ["occlusion"]
    assert model.info.methods["occlusion"] == ""


def test_a_text_classifier_says_that_strings_cannot_be_explained() -> None:
    """A model whose only input is strings: no advice to try another method, for there is none."""
    counts = onnx.helper.make_node(
        "TfIdfVectorizer", ["s"], ["y"], max_gram_length=1, max_skip_count=0, min_gram_length=1, mode="TF", ngram_counts=[0],
        ngram_indexes=[0, 1], pool_strings=["a", "b"],
    )  # fmt: skip
    ends = [onnx.helper.make_tensor_value_info("s", onnx.TensorProto.STRING, [None, 3]),
            onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])]  # fmt: skip
    graph = onnx.helper.make_graph([counts], "words", ends[:1], ends[1:])
    model = explainsvc.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10))
    for method in ("gradient", "occlusion"):
        with pytest.raises(errors.NothingToDifferentiate, match='"s" is string') as caught:
            model.explain({"s": np.array([["a", "b", "a"]], object)}, method)
        assert "occlusion" not in caught.value.to_do


@pytest.mark.parametrize("method", [m for m in STRINGS if m not in ("occlusion", "sobel")])
def test_an_integer_cannot_be_differentiated(method: str) -> None:
    """Token ids have no gradient: the error says so and names a way out."""
    model = explainsvc.load(EMBEDDING)
    for wanted in (["ids"], None):
        with pytest.raises(errors.NothingToDifferentiate, match="ids") as caught:
            model.explain(IDS, method, target=0, inputs=wanted)
        assert "perturbation" in caught.value.to_do


def test_strings_and_integers_ride_along() -> None:
    """Inputs that are not explained may be of any type; perturbation methods explain integers."""
    assert set(explainsvc.load(LABELLED).explain(WORDS, target=0).values) == {"x"}
    assert explainsvc.load(EMBEDDING).explain(IDS, "occlusion", target=0).values["ids"].shape == (2, 5)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "smoothgrad", "random", "sobel"])
def test_what_is_not_one_graph_is_not_compiled(method: str) -> None:
    """A method that runs many graphs says what to compile instead."""
    with pytest.raises(errors.MethodNotApplicable, match="cannot be compiled") as caught:
        explainsvc.load(CNN).compile(method)
    assert caught.value.to_do


CONSTANT = models.build("g (float[N, 2] x, float[N, 2] z) => (float[N, 2] y) { y = Add (x, x) }")


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "integrated_gradients"])
def test_an_input_that_the_target_does_not_read_is_refused(method: str) -> None:
    """No zeros are made up for an input without influence: the error names it, and by default it is left out."""
    model = explainsvc.load(CONSTANT)
    feeds = {"x": numbers(2, 2), "z": numbers(2, 2)}
    assert set(model.explain(feeds, method).values) == {"x"}
    with pytest.raises(errors.NothingToDifferentiate, match='"z"'):
        model.explain(feeds, method, inputs=["z"])


@pytest.mark.parametrize("call", [explainsvc.Model.predict, explainsvc.Model.explain])
def test_predict_checks_as_explain_does(call: Callable[..., Any]) -> None:
    """The same refusals before the same sessions."""
    with pytest.raises(errors.InvalidInput, match="is missing"):
        call(explainsvc.load(MLP), {})
