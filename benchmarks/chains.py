"""Networks of any depth and width, made without torch: dense layers in a row."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def chain(nodes: int, width: int) -> bytes:
    """x [N, width] → (Gemm → Relu) … → y [N, width], about as many nodes, the last a Gemm: ``nodes`` / 2 · width² weights."""
    rng, layers = np.random.default_rng(0), max(1, nodes // 2)
    graph_nodes, weights, value = [], [], "x"
    for layer in range(layers):
        kernel = rng.standard_normal((width, width)).astype(np.float32) * np.float32((2 / width) ** 0.5)
        weights += [
            numpy_helper.from_array(kernel, f"w{layer}"),
            numpy_helper.from_array(np.zeros(width, np.float32), f"b{layer}"),
        ]
        last = layer == layers - 1
        out = "y" if last else f"h{layer}"
        graph_nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [out], f"dense{layer}"))
        if not last:
            graph_nodes.append(helper.make_node("Relu", [out], [f"a{layer}"], f"relu{layer}"))
        value = f"a{layer}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in ("x", "y")]
    graph = helper.make_graph(graph_nodes, "chain", ends[:1], ends[1:], weights)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())
