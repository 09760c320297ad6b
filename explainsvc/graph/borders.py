"""Cutting a graph where the values that stay the same meet those that change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx
from onnx import helper

FED = ".fed"
"""Ends the name under which a value is fed that a copy of it takes on."""


def has_bodies(graph: onnx.GraphProto) -> bool:
    """Whether a node has a graph of its own, which reads values that are not among the node's inputs."""
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(attribute.type in kinds for node in graph.node for attribute in node.attribute)


def border(graph: onnx.GraphProto, inputs: Collection[str], changed: Collection[str]) -> frozenset[str]:
    """Values that depend on these inputs and on nothing that changes, read by a node that is not so, or outputs of the graph.

    Args:
        graph: In topological order.
        inputs: Which stay the same; all others change.
        changed: Initializers that change.
    """
    given = {value.name for value in graph.input}
    fixed, moving, found = given & set(inputs), (given - set(inputs)) | set(changed), set[str]()
    for node in graph.node:
        if not moving.isdisjoint(node.input):
            moving.update(node.output)
            found |= fixed.intersection(node.input)
        elif not fixed.isdisjoint(node.input):
            fixed.update(node.output)
    return frozenset((found | {value.name for value in graph.output if value.name in fixed}) - given)


def types_of(graph: onnx.GraphProto) -> dict[str, onnx.ValueInfoProto]:
    """Values whose element type is declared."""
    declared = (value for values in (graph.value_info, graph.output) for value in values)
    return {value.name: value for value in declared if value.type.tensor_type.elem_type}


def part(
    model: onnx.ModelProto, outputs: Iterable[str], fed: Mapping[str, onnx.ValueInfoProto], *, copied: bool = True
) -> onnx.ModelProto:
    """What computes the outputs from the graph's inputs and from the values that are fed.

    Args:
        model: The graph.
        outputs: Names.
        fed: Values that become inputs.
        copied: A fed picture is copied once by a pool of one pixel: onnxruntime keeps a copy in the layout of its convolutions,
            and then fuses sums into them as it does in the whole graph.
    """
    wanted, kept = list(outputs), []
    needed = set(wanted)
    for node in reversed(model.graph.node):
        if not needed.isdisjoint(name for name in node.output if name not in fed):
            kept.append(node)
            needed.update(name for name in node.input if name)
    entries, copies = [v for v in model.graph.input if v.name in needed], []
    for name, value in fed.items():
        if name in needed:
            doubled = copied and _is_picture(value)
            entry = onnx.ValueInfoProto(name=name + FED if doubled else name, type=value.type)
            for dim in entry.type.tensor_type.shape.dim[:1]:
                dim.Clear()  # a size that was declared for the items may be the exporter's
            entries.append(entry)
            copies += [helper.make_node("AveragePool", [entry.name], [name], kernel_shape=[1, 1])] if doubled else []
    known = types_of(model.graph)
    ends = [known.get(name, onnx.ValueInfoProto(name=name)) for name in wanted]
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    graph = helper.make_graph([*copies, *reversed(kept)], model.graph.name, entries, ends, constants)
    graph.value_info.extend(v for v in model.graph.value_info if v.name in needed and v.name not in fed)
    made = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    made.graph.CopyFrom(graph)
    return made


def _is_picture(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    return tensor.elem_type == onnx.TensorProto.FLOAT and len(sizes) == 4 and all(size > 0 for size in sizes[1:])


def read_in(graph: onnx.GraphProto) -> set[str]:
    """Values that a node reads or that are an output."""
    return {name for node in graph.node for name in node.input} | {value.name for value in graph.output}


def with_initializers(model: onnx.ModelProto, tensors: Iterable[onnx.TensorProto]) -> bytes:
    """The serialized model, with those of further tensors that a node reads or that are an output.

    Serialized messages that follow each other are one message: https://protobuf.dev/programming-guides/encoding/#last-one-wins.
    """
    read, chosen = read_in(model.graph), onnx.ModelProto()
    chosen.graph.initializer.extend(tensor for tensor in tensors if tensor.name in read)
    return bytes(model.SerializeToString() + chosen.SerializeToString())
