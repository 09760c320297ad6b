"""Outputs that are not tensors: a ZipMap (scikit-learn exporters) gives back the tensor that it wraps, others go."""

from __future__ import annotations

import onnx


def tensor_outputs(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """A copy whose outputs are all tensors; a ZipMap output keeps its name and becomes the score tensor [batch, classes]."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    if all(o.type.HasField("tensor_type") for o in graph.output):
        return result, False
    types = {node.output[0]: node for node in graph.node if node.op_type == "ZipMap"}
    for node in types.values():
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]
    kept = [o for o in graph.output if o.type.HasField("tensor_type") or o.name in types]
    for output in kept:
        if output.name in types:
            output.type.Clear()
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.output[:]
    graph.output.extend(kept)
    del graph.value_info[:]
    _drop_dead_nodes(graph)
    return result, True


def without_map_types(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all its nodes, but with no type where that is a map or a sequence of maps, which ``onnx_ir`` cannot say."""
    if not any(map(_holds_maps, (*proto.graph.output, *proto.graph.value_info))):
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for value in filter(_holds_maps, (*result.graph.output, *result.graph.value_info)):
        value.ClearField("type")
    return result


def _holds_maps(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("map_type") or value.type.sequence_type.elem_type.HasField("map_type")


def _drop_dead_nodes(graph: onnx.GraphProto) -> None:
    """Nodes that no kept output needs."""
    needed = {o.name for o in graph.output}
    alive = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            alive.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(alive))
