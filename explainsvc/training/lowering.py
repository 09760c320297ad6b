"""An ONNX graph as onnx2torch takes it: learned tensors are operands, and every output has a node of its own.

- Learned initializers become inputs of the graph. Converters then cannot copy them, and whatever reads one reads the same.
- Names are numbers. onnx2torch keeps nodes, inputs and constants in one table, and torch.fx writes the names of nodes into
  Python source that it runs: those of a stranger's file must not get there.
- onnx2torch returns nodes, not values: an output that is an input, a constant or one of several results gets an Identity.
- Results that nothing reads and that may be left out are left out: the mask of a Dropout is why a node would have several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper

from explainsvc.training.converters.operator import OPERAND_FORMS, OPERANDS


def lower(source: onnx.ModelProto, learned: Sequence[str]) -> onnx.ModelProto:
    """The graph in the form above.

    Args:
        source: Flat, with initializers that are no inputs; not changed.
        learned: Names of its initializers that become inputs.

    Returns:
        Its node ``n<k>`` is node k of the source; its inputs are those of the source, then the learned ones in their order.
    """
    proto = onnx.shape_inference.infer_shapes(source, data_prop=True)
    graph = proto.graph
    number = _Numbers()
    tensors = {t.name: t for t in graph.initializer}
    for name in learned:
        declared = helper.make_tensor_value_info(name, tensors[name].data_type, tensors[name].dims)
        graph.input.append(declared)
    kept = [t for t in graph.initializer if t.name not in set(learned)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    read = {name for node in graph.node for name in node.input} | {v.name for v in graph.output}
    for k, node in enumerate(graph.node):
        _plain(node, k, read, number)
    for value in (*graph.input, *graph.value_info):
        value.name = number[value.name]
    for tensor in graph.initializer:
        tensor.name = number[tensor.name]
    for k, value in enumerate(graph.output):
        graph.node.append(helper.make_node("Identity", [number[value.name]], [f"out{k}"], f"o{k}"))
        value.name = f"out{k}"
    proto.opset_import.append(helper.make_opsetid(OPERANDS, 1))
    return proto


class _Numbers(dict[str, str]):
    """Name → number, given out as names come."""

    def __missing__(self, name: str) -> str:
        self[name] = f"v{len(self)}" if name else ""
        return self[name]


def _plain(node: onnx.NodeProto, k: int, read: set[str], number: Mapping[str, str]) -> None:
    optional = _optional_results(node)
    while len(node.output) > 1 and node.output[-1] not in read and optional[len(node.output) - 1 :][:1] == [True]:
        del node.output[-1]
    while node.input and not node.input[-1]:
        del node.input[-1]
    node.input[:] = [number[name] for name in node.input]
    node.output[:] = [number[name] for name in node.output]
    node.name = f"n{k}"
    if node.domain == "" and node.op_type in OPERAND_FORMS:
        node.domain = OPERANDS


def _optional_results(node: onnx.NodeProto) -> list[bool]:
    if not onnx.defs.has(node.op_type, node.domain):
        return []
    kind = onnx.defs.OpSchema.FormalParameterOption.Optional
    return [o.option == kind for o in onnx.defs.get_schema(node.op_type, node.domain).outputs]
