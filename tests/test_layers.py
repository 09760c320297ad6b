"""Layers: a value inside the model explained as an input of the rest of the model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.errors import InvalidInput
from tests import models
from tests.models import Array, numbers


def extracted(proto: onnx.ModelProto, tmp_path: Path, name: str) -> tuple[explainsvc.Model, Array, Array]:
    """What onnx's own extractor makes of the model from a value on, an input x, and the value there by onnxruntime."""
    x = numbers(3, 2, 8, 8)
    whole, rest, upper = (str(tmp_path / f"{part}.onnx") for part in ("whole", "rest", "upper"))
    onnx.save(onnx.shape_inference.infer_shapes(proto), whole)
    onnx.utils.extract_model(whole, rest, [name], ["y"])
    onnx.utils.extract_model(whole, upper, ["x"], [name])
    at = ort.InferenceSession(upper, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return explainsvc.load(rest), x, at


@pytest.mark.parametrize("name", ["r1", "a2", "p", "f"])
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("gradient", {}),
        ("lrp_epsilon_plus", {}),
        ("integrated_gradients", {"baseline": "mean", "steps": 7}),
        ("smoothgrad", {"samples": 3}),
        ("occlusion", {"baseline": 0.3}),
    ],
)
def test_a_layer_is_explained_as_the_extracted_model_is(
    tmp_path: Path, name: str, method: str, parameters: dict[str, Any]
) -> None:
    """Any method at any value: the numbers of the model that onnx's extractor cuts out there, fed with the value."""
    proto = models.cnn(batchnorm=False)
    rest, x, at = extracted(proto, tmp_path, name)
    model = explainsvc.load(proto)
    found = model.explain({"x": x}, method, [2, 0, 1], inputs=[name], seed=5, **parameters)
    expected = rest.explain({name: at}, method, [2, 0, 1], seed=5, **parameters)
    assert list(found.values) == [name]
    np.testing.assert_allclose(found.values[name], expected.values[name], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.output_value, model.predict({"x": x})["y"][np.arange(3), [2, 0, 1]], rtol=1e-5)
    assert found.model_digest == model.digest


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon_plus_flat"])
def test_the_compiled_graph_is_the_whole_model_with_the_layers_values(method: str) -> None:
    """From the model's own input: the explanation of the layer, and the model's output."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    expected = model.explain({"x": x}, method, 1, inputs=["r1"])
    session = ort.InferenceSession(model.compile(method, inputs=["r1"]).proto.SerializeToString())
    y, found = session.run(["y", "explain.r1"], {"x": x, "explain.seed": expected.target.seed})
    np.testing.assert_allclose(y, model.predict({"x": x})["y"], rtol=1e-5)
    np.testing.assert_allclose(found, expected.values["r1"], rtol=1e-4, atol=1e-6)


def test_embedded_tokens_are_explained_where_tokens_cannot_be() -> None:
    """y = tanh Σ_t e_t: integrated gradients of the embedding [N, 5, 3] sum to y less tanh 0."""
    model, ids = explainsvc.load(models.embedding()), np.array([[1, 2, 3, 4, 5], [0, 0, 9, 8, 7]])
    found = model.explain({"ids": ids}, "integrated_gradients", [0, 2], inputs=["e"])
    assert found.values["e"].shape == (2, 5, 3)
    np.testing.assert_allclose(found.values["e"].sum(axis=(1, 2)), found.output_value, rtol=1e-4)
    np.testing.assert_array_equal(found.values["e"][0][:, 1:], 0)


def test_an_input_and_an_inner_value_are_explained_together() -> None:
    """p = (t + 1) ⊙ b: ∂p₀/∂t = b₀ and ∂p₀/∂b = t₀ + 1 with t held as it is."""
    model, a, b = explainsvc.load(models.two_by_two()), numbers(2, 3), numbers(2, 2, seed=1)
    found = model.explain({"a": a, "b": b}, "gradient", {"output": "p", "index": 0}, inputs=["b", "t"])
    t = model.value_of({"a": a, "b": b}, "t")
    np.testing.assert_allclose(found.values["t"][:, 0], b[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found.values["b"][:, 0], t[:, 0] + 1, rtol=1e-6)


def test_half_precision_says_so_at_a_layer_too() -> None:
    """The caveats of the model hold for its layers."""
    model = explainsvc.load(models.half())
    inner = next(v.name or "" for n in model.graph for v in n.outputs if not v.is_graph_output())
    feeds = {t.name: numbers(2, *(d for d in t.shape[1:])).astype(np.float16) for t in model.inputs}
    assert model.explain(feeds, inputs=[inner]).caveats[0] == model.explain(feeds).caveats[0]


def test_what_is_neither_input_nor_value_is_refused() -> None:
    """By its name."""
    model = explainsvc.load(models.mlp())
    with pytest.raises(InvalidInput, match='"nothing" is neither an input'):
        model.explain({"x": numbers(1, 6)}, inputs=["nothing"])
