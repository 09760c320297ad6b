"""Scan of opset 8, whose operands have a batch axis and whose items all run by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc

TEXT = """<ir_version: 3, opset_import: ["" : 8]>
scanning (float[3, 2] h0, float[3, 4, 2] x) => (float[3, 2] h, float[3, 4, 2] y) {{
  h, y = Scan <num_scan_inputs = 1, {directions} body = step (float[2] before, float[2] x_t) => (float[2] after, float[2] y_t) {{
    sum = Add (before, x_t)
    after = Tanh (sum)
    y_t = Mul (after, before)
  }} > ("", h0, x)
}}
"""
STEP = 1e-2


@pytest.mark.parametrize("output", ["h", "y"])
@pytest.mark.parametrize("directions", ["", "directions = [1], "])
def test_gradient(directions: str, output: str) -> None:
    """The gradients of states and sequences are the slopes of what onnxruntime computes, item by item."""
    proto = onnx.parser.parse_model(TEXT.format(directions=directions))
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("h0", (3, 2)), ("x", (3, 4, 2)))}
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    seed = rng.standard_normal(session.run([output], feeds)[0].shape).astype(np.float32)
    found = explainsvc.load(proto).explain(feeds, method="gradient", target={"output": output, "seed": seed}).values

    def value(name: str, moved: Any) -> float:
        return float((session.run([output], feeds | {name: moved})[0].astype(np.float64) * seed).sum())

    for name, x in feeds.items():
        slope = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            unit = np.zeros_like(x)
            unit[index] = STEP
            slope[index] = (value(name, x + unit) - value(name, x - unit)) / (2 * STEP)
        np.testing.assert_allclose(found[name], slope, rtol=1e-3, atol=1e-3)
