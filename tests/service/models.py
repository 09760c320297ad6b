"""Small ONNX models for the service's tests, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FLOAT, INT64, STRING, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL


def weights(*shape: int) -> Array:
    """Normal numbers, float32, the same for the same shape."""
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    initializers: dict[str, Array] | None = None,
    opsets: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of opset 17, unchecked."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in (opsets or {"": 17}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, producer_name="tests")


def cnn() -> bytes:
    """x [batch, 1, 6, 6] → Conv → Relu → mean over space → Gemm → y [batch, 3]."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "v", "d"], ["y"], "head"),
    ]
    initializers = {"w": weights(4, 1, 3, 3), "b": weights(4), "v": weights(4, 3), "d": weights(3)}
    proto = model(nodes, {"x": (FLOAT, ["batch", 1, 6, 6])}, {"y": (FLOAT, ["batch", 3])}, initializers)
    return proto.SerializeToString()


def image(batch: int = 2) -> dict[str, Array]:
    """Inputs of ``cnn``."""
    return {"x": np.random.default_rng(batch).normal(size=(batch, 1, 6, 6)).astype(np.float32)}


def linear() -> bytes:
    """x [batch, 4] → Gemm → y [batch, 3]: no ReLU, no space."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "gemm")]
    proto = model(nodes, {"x": (FLOAT, ["batch", 4])}, {"y": (FLOAT, ["batch", 3])}, {"w": weights(4, 3)})
    return proto.SerializeToString()


def linear_of_pictures() -> bytes:
    """x [batch, 1, 6, 6] → Flatten → Gemm → y [batch, 3]."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"])]
    proto = model(nodes, {"x": (FLOAT, ["batch", 1, 6, 6])}, {"y": (FLOAT, ["batch", 3])}, {"w": weights(36, 3)})
    return proto.SerializeToString()


def embedding() -> bytes:
    """ids int64 [batch, 5] → Gather → sum → y [batch, 3]."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
        helper.make_node("ReduceSum", ["e", "axis"], ["y"], "sum", keepdims=0),
    ]
    initializers = {"table": weights(10, 3), "axis": np.array([1], np.int64)}
    proto = model(nodes, {"ids": (INT64, ["batch", 5])}, {"y": (FLOAT, ["batch", 3])}, initializers)
    return proto.SerializeToString()


def labelled() -> bytes:
    """x [batch, 4] and word string [batch] → Softmax y, and the word again."""
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["y"], "gemm"),
        helper.make_node("Identity", ["word"], ["echo"], "echo"),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["batch", 4]), "word": (STRING, ["batch"])}
    outputs: dict[str, tuple[int, list[Any]]] = {"y": (FLOAT, ["batch", 3]), "echo": (STRING, ["batch"])}
    return model(nodes, inputs, outputs, {"w": weights(4, 3)}).SerializeToString()


def loop() -> bytes:
    """n int64 [1] rounds of x ← tanh(x), x [batch, 4]: as slow as one likes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Tanh", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("value", FLOAT, ["batch", 4]),
        ],
        [
            helper.make_tensor_value_info("again", BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, ["batch", 4]),
        ],
    )
    nodes = [
        helper.make_node("Squeeze", ["n"], ["rounds"], "rounds"),
        helper.make_node("Loop", ["rounds", "", "x"], ["y"], "loop", body=body),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["batch", 4]), "n": (INT64, [1])}
    return model(nodes, inputs, {"y": (FLOAT, ["batch", 4])}).SerializeToString()


def rounds(number: int) -> dict[str, Array]:
    """Inputs of ``loop``."""
    return {"x": np.ones((1, 4), np.float32), "n": np.array([number], np.int64)}


ENDLESS = 10**12
"""Rounds that no test waits for."""


def bomb() -> bytes:
    """n int64 [1] → that many floats, summed."""
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["big"], "fill"),
        helper.make_node("ReduceSum", ["big"], ["y"], "sum"),
    ]
    return model(nodes, {"n": (INT64, [1])}, {"y": (FLOAT, [1])}).SerializeToString()


def external(location: str = "weights.bin") -> tuple[bytes, dict[str, bytes]]:
    """``linear`` with its weights in a file of their own."""
    proto = onnx.ModelProto.FromString(linear())
    tensor = proto.graph.initializer[0]
    data = numpy_helper.to_array(tensor).tobytes()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(data))}.items():
        tensor.external_data.add(key=key, value=value)
    return proto.SerializeToString(), {location: data}


def custom(operator: str, domain: str = "") -> bytes:
    """One node that onnxruntime does not know."""
    opsets = {"": 17, domain: 1} if domain else {"": 17}
    nodes = [helper.make_node(operator, ["x"], ["y"], "strange", domain=domain)]
    return model(nodes, {"x": (FLOAT, ["batch", 4])}, {"y": (FLOAT, ["batch", 4])}, opsets=opsets).SerializeToString()


def from_the_future() -> bytes:
    """``linear`` with an opset that does not exist yet."""
    proto = onnx.ModelProto.FromString(linear())
    proto.opset_import[0].version = 99
    return proto.SerializeToString()
