"""Small models for the checks, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.model import Model

Array = npt.NDArray[Any]


def built(nodes: Sequence[onnx.NodeProto], shape: Sequence[Any], tensors: dict[str, Array]) -> onnx.ModelProto:
    """A model x → y of opset 21; the shape of y is left to inference."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def numbers(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, float32."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def cnn() -> Model:
    """x [n, 2, 8, 8] → Conv → Relu → Conv → Relu → Flatten → Gemm → y [n, 5]; two layers of the same shape."""
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], "second", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Flatten", ["r1"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v", "d"], ["y"], "head"),
    ]
    tensors = {"w0": numbers(2, 2, 3, 3), "b0": numbers(2), "w1": numbers(2, 2, 3, 3, seed=1), "b1": numbers(2, seed=1)}
    return explainsvc.load(built(nodes, ["n", 2, 8, 8], tensors | {"v": numbers(128, 5), "d": numbers(5)}))


def pictures(count: int = 24) -> dict[str, Array]:
    """Inputs of ``cnn``."""
    return {"x": numbers(count, 2, 8, 8, seed=2)}


def fixed_edges() -> Model:
    """Learned weights that no gradient map depends on: y = relu(x·1) · x summed per row, plus a learned bias.

    ∂y/∂x = 2·relu(x) whatever the bias is, so that every map after randomisation is the map before.
    """
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Mul", ["r", "x"], ["m"], "square"),
        helper.make_node("ReduceSum", ["m", "axes"], ["s"], "sum", keepdims=1),
        helper.make_node("Add", ["s", "bias"], ["y"], "bias"),
    ]
    tensors = {"bias": np.array([1.0, 3.0], np.float32), "axes": np.array([1], np.int64)}
    return explainsvc.load(built(nodes, ["n", 12], tensors))


def linear(bias: bool = False) -> Model:
    """x [n, 12] → x·w (+ b) → y [n, 4]."""
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    tensors = {"w": numbers(12, 4)} | ({"b": numbers(4)} if bias else {})
    return explainsvc.load(built([helper.make_node("Gemm", inputs, ["y"], "dense")], ["n", 12], tensors))


def squares() -> Model:
    """x [n, 12] → y [n, 1] = Σ x²: the gradient is 2x."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["s"], "square"),
        helper.make_node("ReduceSum", ["s", "axes"], ["y"], "sum", keepdims=1),
    ]
    return explainsvc.load(built(nodes, ["n", 12], {"axes": np.array([1], np.int64)}))


def ripples() -> Model:
    """x [n, 12] → y [n, 1] = 100 + Σ x + 0.01 sin(1000 x): a gradient 1 + 10 cos(1000 x) on a nearly flat output."""
    nodes = [
        helper.make_node("Mul", ["x", "fast"], ["f"], "fast"),
        helper.make_node("Sin", ["f"], ["s"], "sin"),
        helper.make_node("Mul", ["s", "small"], ["r"], "ripple"),
        helper.make_node("Add", ["x", "r"], ["a"], "rippled"),
        helper.make_node("ReduceSum", ["a", "axes"], ["t"], "sum", keepdims=1),
        helper.make_node("Add", ["t", "high"], ["y"], "high"),
    ]
    tensors = {"fast": np.array(1000, np.float32), "small": np.array(0.01, np.float32), "high": np.array(100, np.float32)}
    return explainsvc.load(built(nodes, ["n", 12], tensors | {"axes": np.array([1], np.int64)}))


def rows(count: int = 10) -> dict[str, Array]:
    """Inputs of the models of twelve features."""
    return {"x": numbers(count, 12, seed=3)}


def verdicts_of(model: Model, feeds: dict[str, Array], check: str, methods: Sequence[str], **parameters: Any) -> dict[str, str]:
    """Method → word of one check."""
    report = model.audit(feeds, methods=list(methods), checks=[check], parameters=parameters)
    return {method: report.verdicts[method, check] for method in methods}


def means_of(report: Any, method: str, measure: str) -> list[float]:
    """Means of the rows of a measure, in their order."""
    return [row.mean for row in report.rows if (row.method, row.measure) == (method, measure)]
