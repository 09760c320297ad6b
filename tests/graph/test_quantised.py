"""Static quantisation as onnxruntime's own tool writes it, explained through the twin, with its rounding and without."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import quantization

import explainsvc
from tests import models
from tests.models import Array, numbers

FORMATS = {"QDQ": quantization.QuantFormat.QDQ, "QOperator": quantization.QuantFormat.QOperator}
X = numbers(4, 2, 8, 8, seed=3)


class Samples(quantization.CalibrationDataReader):
    """Pictures to calibrate with."""

    def __init__(self) -> None:
        self.left = [{"x": numbers(1, 2, 8, 8, seed=k)} for k in range(40)]

    def get_next(self) -> dict[str, Array] | None:
        """One after the other."""
        return self.left.pop() if self.left else None


@pytest.fixture(scope="module", params=FORMATS)
def quantised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The small CNN in int8, by operators between quantisers and by quantised operators."""
    folder: Path = tmp_path_factory.mktemp("quantised")
    onnx.save(models.cnn(batchnorm=False), folder / "float.onnx")
    logging.getLogger().setLevel(logging.ERROR)  # the tool warns that the model was not prepared by another tool
    quantization.quantize_static(folder / "float.onnx", folder / "int8.onnx", Samples(), quant_format=FORMATS[request.param])
    return onnx.load(folder / "int8.onnx")


def gradient(model: explainsvc.Model) -> Array:
    """Of the first output."""
    return model.explain({"x": X}, target=0).values["x"]


def cosine(a: Array, b: Array) -> float:
    """Between two arrays as vectors."""
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_twin_has_the_float_models_gradient(quantised: onnx.ModelProto) -> None:
    """Without rounding, what is left of quantisation is that of the weights: the gradient is nearly the float model's."""
    model = explainsvc.load(quantised)
    found, expected = gradient(model), gradient(explainsvc.load(models.cnn(batchnorm=False)))
    assert cosine(found, expected) > 0.98
    assert model.prepared.dequantized
    assert any("does not round" in caveat for caveat in model.caveats)


def test_kept_rounding_reproduces_the_quantised_model(quantised: onnx.ModelProto) -> None:
    """With its rounding the twin computes what the quantised model computes, up to a step where a sum lies at a tie."""
    model = explainsvc.load(quantised).straight_through
    record = next(p for p in model.prepared.passes if p.name == "dequantize")
    assert record.applied
    assert record.error < 0.02
    assert any("straight through" in caveat for caveat in model.caveats)
    operators = {n.op_type for n in model.graph}
    assert "Round" in operators
    assert not operators & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearAdd"}


@pytest.mark.parametrize("kept", [False, True])
def test_the_saved_graph_says_what_it_does_with_rounding(quantised: onnx.ModelProto, kept: bool) -> None:
    """Its metadata carry the caveats that an explanation has."""
    model = explainsvc.load(quantised)
    model = model.straight_through if kept else model
    metadata = {p.key: p.value for p in model.compile("gradient").proto.metadata_props}
    (caveat,) = json.loads(metadata["explainsvc.caveats"])
    assert caveat in model.explain({"x": numbers(2, 2, 8, 8)}, target=0).caveats
    assert ("straight through" in caveat) == kept


def fake_quantised_mlp(w: Array, scales: tuple[float, float]) -> onnx.ModelProto:
    """x → quantise → dense → ReLU → quantise → sum of squares: signed and unsigned steps, some of x beyond the range."""
    graph = """g (float[N, 5] x) => (float[N, 1] y) {
      q = QuantizeLinear (x, s, zero)  d = DequantizeLinear (q, s, zero)
      h = MatMul (d, w)  r = Relu (h)
      p = QuantizeLinear (r, t, nil)  e = DequantizeLinear (p, t, nil)
      f = Mul (e, e)  y = ReduceSum <keepdims = 1> (f, axis)
    }"""
    tensors = {"w": w, "s": np.float32(scales[0]), "t": np.float32(scales[1]), "axis": np.array([1])}
    zeros = {"zero": np.zeros((), np.int8), "nil": np.zeros((), np.uint8)}
    return models.build(graph, {name: np.asarray(a) for name, a in (tensors | zeros).items()}, opset=21, ir_version=10)


def test_straight_through_equals_torch() -> None:
    """The gradient with rounding kept is that of torch's fake quantisation, which passes it straight through."""
    torch: Any = pytest.importorskip("torch")
    w, x = models.weights("w", 5, 6, scale=1.0), 1.5 * numbers(7, 5, seed=9)
    s, t = 0.02, 0.015
    model = explainsvc.load(fake_quantised_mlp(w, (s, t))).straight_through
    found = model.explain({"x": x}, target=0)

    tensor = torch.tensor(x, requires_grad=True)
    d = torch.fake_quantize_per_tensor_affine(tensor, s, 0, -128, 127)
    e = torch.fake_quantize_per_tensor_affine(torch.relu(d @ torch.tensor(w)), t, 0, 0, 255)
    y = (e * e).sum(dim=1)
    y.sum().backward()
    assert (np.abs(x) > 127.5 * s).any()
    np.testing.assert_allclose(found.output_value, y.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(found.values["x"], tensor.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_model_that_is_not_quantised_has_the_same_gradient() -> None:
    """Rounding of the model's own keeps its derivative of zero; nothing else changes."""
    model = explainsvc.load(models.mlp())
    x = numbers(3, 6)
    np.testing.assert_array_equal(
        model.straight_through.explain({"x": x}, target=1).values["x"], model.explain({"x": x}, target=1).values["x"]
    )
