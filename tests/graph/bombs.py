"""Small files that ask for much: each is valid ONNX that onnx.checker accepts with ``full_check``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OPSET = 17


def ints(*values: int, name: str) -> TensorProto:
    """A stored int64 vector."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def floats(*values: float, name: str) -> TensorProto:
    """A stored float vector."""
    return numpy_helper.from_array(np.array(values, np.float32), name)


def scalar(value: Any, name: str, dtype: Any = np.int64) -> TensorProto:
    """A stored scalar."""
    return numpy_helper.from_array(np.array(value, dtype), name)


def value(name: str, shape: Sequence[int | str] | None = None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    stored: Sequence[TensorProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    kind: int = FLOAT,
    rank: int = 1,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model that gives ``y``."""
    graph = helper.make_graph(nodes, "g", inputs, [value("y", [f"y{axis}" for axis in range(rank)], kind)], stored)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def node(op_type: str, inputs: str, outputs: str = "y", **attributes: Any) -> NodeProto:
    """A node; names are separated by blanks, ``-`` is an omitted operand."""
    return helper.make_node(op_type, ["" if n == "-" else n for n in inputs.split()], outputs.split(), **attributes)


def constant_of_shape() -> onnx.ModelProto:
    """4.4 GB of zeros."""
    return model([node("ConstantOfShape", "s")], [ints(33_000, 33_000, name="s")], rank=2)


def resize() -> onnx.ModelProto:
    """One pixel becomes 6.4 GB of them."""
    stored = [floats(1, 1, 40_000, 40_000, name="s")]
    return model([node("Resize", "x - s", mode="nearest")], stored, [value("x", [1, 1, 1, 1])], rank=4)


def endless() -> onnx.ModelProto:
    """A loop without a trip count that passes on its condition, which is true."""
    body = helper.make_graph(
        [node("Identity", "c", "d"), node("Relu", "a", "b")], "body",
        [value("i", [], INT64), value("c", [], BOOL), value("a", [1])], [value("d", [], BOOL), value("b", [1])],
    )  # fmt: skip
    return model([node("Loop", "- t x", body=body)], [scalar(True, "t", np.bool_)], [value("x", [1])])


def nested_functions(width: int = 10, depth: int = 10) -> onnx.ModelProto:
    """Functions that call one another: ``width`` to the power of ``depth`` nodes."""
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("f", 1)]

    def chain(op_type: str, domain: str) -> list[NodeProto]:
        names = ["x", *(f"v{i}" for i in range(width - 1)), "y"]
        return [helper.make_node(op_type, [a], [b], domain=domain) for a, b in itertools.pairwise(names)]

    functions = [helper.make_function("f", "f0", ["x"], ["y"], chain("Relu", ""), opsets)]
    functions += [helper.make_function("f", f"f{k}", ["x"], ["y"], chain(f"f{k - 1}", "f"), opsets) for k in range(1, depth)]
    call = helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="f")
    return model([call], [], [value("x", [1])], functions, ["f"])


BOMBS = {
    "constant of shape": constant_of_shape, "resize": resize, "endless loop": endless, "nested functions": nested_functions,
}  # fmt: skip
"""The four of which older loaders are known to die."""
