"""What exporters wrap around the same graph: Constant nodes, initializers among the inputs, the domain's long name, functions."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_FUNCTIONS = frozenset({"MeanVarianceNormalization"})
"""Have a body themselves, which onnxruntime 1.32 loses its attributes of when it stands in another function."""


def dressed(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """A model that computes the same, written as another exporter might."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    for change in (_functions, _constants, _listed, _long_domain):
        if rng.integers(0, 3) == 0:
            change(model, rng)
    return model


def _constants(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Some initializers as nodes: a tensor, or integers and a float as attributes."""
    graph, nodes, kept = model.graph, [], []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if rng.integers(0, 2):
            kept.append(tensor)
        elif array.ndim == 1 and array.dtype == np.int64 and len(array) and rng.integers(0, 2):
            nodes.append(helper.make_node("Constant", [], [tensor.name], value_ints=[int(i) for i in array]))
        elif array.ndim == 0 and array.dtype == np.float32 and rng.integers(0, 2):
            nodes.append(helper.make_node("Constant", [], [tensor.name], value_float=float(array)))
        else:
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    old = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*nodes, *old])


def _listed(model: onnx.ModelProto, _: np.random.Generator) -> None:
    """Every initializer declared as an input, as before IR version 4."""
    declared = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    model.graph.input.extend(declared)


def _long_domain(model: onnx.ModelProto, _: np.random.Generator) -> None:
    """The opset under the name ai.onnx (of nodes, onnx.checker 1.23 does not accept it)."""
    for opset in model.opset_import:
        opset.domain = opset.domain or "ai.onnx"


def _functions(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Some nodes inside functions of the model."""
    graph = model.graph
    for place, node in enumerate(graph.node):
        if rng.integers(0, 2) or node.op_type in _FUNCTIONS or any(a.HasField("g") for a in node.attribute) or "" in node.output:
            continue
        inner, name = onnx.NodeProto(), f"{node.op_type}_{place}"
        inner.CopyFrom(node)
        given = list(dict.fromkeys(n for n in node.input if n))
        model.functions.append(helper.make_function("local", name, given, list(node.output), [inner], list(model.opset_import)))
        node.CopyFrom(helper.make_node(name, given, list(node.output), name=node.name, domain="local"))
    if model.functions:
        model.opset_import.append(helper.make_opsetid("local", 1))
