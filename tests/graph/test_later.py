"""Operators that onnxruntime's optimisers write into the ONNX domain at opsets that do not have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.errors import ModelUnsupported

TEXT = """<ir_version: 6, opset_import: ["" : {opset}]>
later (float[2, 4] x) => (float[2, 4] y) <float[4] w = {{1, -2, 0.5, 3}}, float[4] b = {{0.1, 0.2, 0.3, 0.4}}> {{ {nodes} }}
"""
ROWS = {
    "LayerNormalization": (11, "y = LayerNormalization <axis = -1, epsilon = 0.01> (x, w, b)"),
    "SimplifiedLayerNormalization": (17, "y = SimplifiedLayerNormalization <axis = -1, epsilon = 0.01> (x, w)"),
    "SimplifiedLayerNormalization of opset 21": (21, "n = SimplifiedLayerNormalization <epsilon = 0.01> (x, w) y = Tanh (n)"),
    "both results": (17, "n, inverse = SimplifiedLayerNormalization <axis = -1> (x, w) y = Mul (n, inverse)"),
    "ThresholdedRelu": (9, "t = ThresholdedRelu <alpha = 0.3> (x) y = Mul (t, w)"),
    "inside an If": (11, """s = ReduceSum <keepdims = 0> (b) zero = Sub (s, s) yes = Greater (s, zero) y = If (yes) <
        then_branch = one () => (float[2, 4] p) {{ p = LayerNormalization (x, w, b) }},
        else_branch = two () => (float[2, 4] q) {{ q = Identity (x) }} >""".replace("{{", "{").replace("}}", "}")),
}  # fmt: skip
STEP = 1e-2


@pytest.mark.parametrize("row", ROWS)
def test_gradient(row: str) -> None:
    """Such a model is loaded, and its gradient is the slope of what onnxruntime computes."""
    opset, nodes = ROWS[row]
    proto = onnx.parser.parse_model(TEXT.format(opset=opset, nodes=nodes))
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[0.5, -1.0, 2.0, 0.7], [1.5, 0.2, -0.4, 0.9]], np.float32)
    seed = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    model = explainsvc.load(proto)
    assert all(p.note == "" for p in model.prepared.passes)
    found = model.explain({"x": x}, method="gradient", target={"output": "y", "seed": seed}).values["x"]

    def value(moved: Any) -> float:
        return float((session.run(None, {"x": moved})[0].astype(np.float64) * seed).sum())

    slope = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[index] = STEP
        slope[index] = (value(x + unit) - value(x - unit)) / (2 * STEP)
    np.testing.assert_allclose(found, slope, rtol=5e-3, atol=2e-3)


def test_other_unknown_operators_are_refused() -> None:
    """A name that neither ONNX nor onnxruntime has at this opset is refused as ever (negative control)."""
    proto = onnx.parser.parse_model(TEXT.format(opset=11, nodes="n = LayerNormalization (x, w, b) y = Gelu (n)"))
    with pytest.raises(ModelUnsupported, match="Gelu"):
        explainsvc.load(proto)
