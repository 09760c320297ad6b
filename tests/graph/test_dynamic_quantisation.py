"""Dynamically quantised models: their gradient is that of the float operators on the dequantised weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import explainsvc

BATCH, LENGTH, WIDTH, HEADS = 2, 3, 8, 2
STEP = 1e-2
rng = np.random.default_rng(0)
X = rng.standard_normal((BATCH, LENGTH, WIDTH)).astype(np.float32)
WEIGHT = rng.integers(-60, 60, (WIDTH, 3 * WIDTH), dtype=np.int8)
SCALES = rng.uniform(0.005, 0.015, 3 * WIDTH).astype(np.float32)
REAL = WEIGHT * SCALES
BIAS = (0.1 * rng.standard_normal(3 * WIDTH)).astype(np.float32)


def model(nodes: list[onnx.NodeProto], width: int, **tensors: Any) -> onnx.ModelProto:
    """x [batch, length, 8] → y [batch, length, width]."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [BATCH, LENGTH, w]) for n, w in (("x", WIDTH), ("y", width))]
    graph = helper.make_graph(nodes, "quantised", ends[:1], ends[1:], [numpy_helper.from_array(a, n) for n, a in tensors.items()])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def gradient(proto: onnx.ModelProto, seed: Any) -> Any:
    """Ours."""
    return explainsvc.load(proto).explain({"x": X}, method="gradient", target={"output": "y", "seed": seed}).values["x"]


QUANTISE = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
QUANTISED = {"w": WEIGHT, "ws": SCALES, "wz": np.zeros(3 * WIDTH, np.int8)}


def test_attention() -> None:
    """QAttention: the slope of onnxruntime's float Attention with the weights that the integers stand for."""
    operands = ["q", "w", "b", "s", "ws", "", "z", "wz"]
    node = helper.make_node("QAttention", operands, ["y"], domain="com.microsoft", num_heads=HEADS)
    seed = rng.standard_normal(X.shape).astype(np.float32)
    found = gradient(model([QUANTISE, node], WIDTH, b=BIAS, **QUANTISED), seed)
    plain = helper.make_node("Attention", ["x", "w", "b"], ["y"], domain="com.microsoft", num_heads=HEADS)
    session = ort.InferenceSession(model([plain], WIDTH, w=REAL, b=BIAS).SerializeToString(), providers=["CPUExecutionProvider"])
    slope = np.zeros(X.shape)
    for index in np.ndindex(X.shape):
        unit = np.zeros_like(X)
        unit[index] = STEP
        ends = [(session.run(None, {"x": x})[0].astype(np.float64) * seed).sum() for x in (X + unit, X - unit)]
        slope[index] = (ends[0] - ends[1]) / (2 * STEP)
    np.testing.assert_allclose(found, slope, rtol=1e-3, atol=1e-3)


def test_products_that_share_one_quantiser() -> None:
    """Two MatMulIntegerToFloat read one quantised activation, as onnxruntime leaves queries and keys; y = (x W) ⊙ (x W)."""
    operands = ["q", "w", "s", "ws", "z", "wz"]
    products = [helper.make_node("MatMulIntegerToFloat", operands, [y], domain="com.microsoft") for y in ("a", "b")]
    seed = rng.standard_normal((BATCH, LENGTH, 3 * WIDTH)).astype(np.float32)
    proto = model([QUANTISE, *products, helper.make_node("Mul", ["a", "b"], ["y"])], 3 * WIDTH, **QUANTISED)
    np.testing.assert_allclose(gradient(proto, seed), (2 * seed * (X @ REAL)) @ REAL.T, rtol=1e-4, atol=1e-4)
