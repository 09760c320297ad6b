"""Graph surgery on ONNX protos: what all rewritings of a model are made of. Every function changes a copy that is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from explainsvc.autograd.shapes import Array
from explainsvc.graph.load import load_model
from explainsvc.model import Model

TAG = "explainsvc."
"""Starts the names of what is added."""
CONSTANTS = 4
"""The IR version from which initializers need not be inputs."""
DOMAINS = ("", "ai.onnx")


def copy_of(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to change; inferred shapes of inner values go, since they may no longer hold.

    Before IR version 4 every initializer is an input too: they become constants, which new ones may then stand beside.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.value_info[:]
    if copy.ir_version < CONSTANTS:
        stored = {t.name for t in copy.graph.initializer}
        kept = [v for v in copy.graph.input if v.name not in stored]
        del copy.graph.input[:]
        copy.graph.input.extend(kept)
        copy.ir_version = CONSTANTS
    return copy


def as_model(proto: onnx.ModelProto) -> Model:
    """A model of its own, checked and prepared like any that is loaded."""
    return Model(load_model(proto))


def opset_of(proto: onnx.ModelProto) -> int:
    """Of the standard operators."""
    return next((o.version for o in proto.opset_import if o.domain in DOMAINS), 1)


def constants(proto: onnx.ModelProto) -> dict[str, Array]:
    """Dense float32 initializers of the graph that no input overrides, by name."""
    inputs = {v.name for v in proto.graph.input}
    floats = (t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.name not in inputs)
    return {t.name: numpy_helper.to_array(t) for t in floats}


def is_op(node: onnx.NodeProto, *names: str) -> bool:
    """Whether a node is one of these standard operators."""
    return node.domain in DOMAINS and node.op_type in names


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Name → value."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def add_constant(proto: onnx.ModelProto, name: str, array: Array) -> str:
    """A new initializer; its name, which is free."""
    taken = {t.name for t in proto.graph.initializer}
    free = next(n for n in (f"{TAG}{name}{i or ''}" for i in range(len(taken) + 1)) if n not in taken)
    proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), free))
    return free


@dataclass(frozen=True)
class Copy:
    """A model that is being changed, and what was known of it before: numbers are read once, not at every node."""

    proto: onnx.ModelProto

    @cached_property
    def known(self) -> dict[str, Array]:
        """See :func:`constants`."""
        return constants(self.proto)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Value → number of its axes, where that can be inferred."""
        inferred = onnx.shape_inference.infer_shapes(self.proto).graph
        shaped = [v for v in (*inferred.value_info, *inferred.input) if v.type.tensor_type.HasField("shape")]
        return {v.name: len(v.type.tensor_type.shape.dim) for v in shaped}

    def constant(self, name: str, array: Array) -> str:
        """See :func:`add_constant`."""
        return add_constant(self.proto, name, array)


def replace_nodes(
    proto: onnx.ModelProto, instead: Callable[[Copy, onnx.NodeProto], list[onnx.NodeProto] | None]
) -> onnx.ModelProto | None:
    """A copy with other nodes in the place of some; None where no node was replaced."""
    whole = Copy(copy_of(proto))
    found = [(node, instead(whole, node)) for node in proto.graph.node]
    if all(nodes is None for _, nodes in found):
        return None
    copy = whole.proto
    del copy.graph.node[:]
    copy.graph.node.extend(n for node, nodes in found for n in ([node] if nodes is None else nodes))
    return without_unused(copy)


def without_unused(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Initializers that nobody reads any more are dropped."""
    used = {name for node in proto.graph.node for name in names_read(node)} | {v.name for v in proto.graph.output}
    kept = [t for t in proto.graph.initializer if t.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def names_read(node: onnx.NodeProto) -> set[str]:
    """What a node reads, its subgraphs included."""
    return set(node.input) | {name for g in subgraphs(node) for n in g.node for name in names_read(n)} | {
        v.name for g in subgraphs(node) for v in g.output
    }  # fmt: skip


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The bodies of If, Loop, Scan."""
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def read_instead(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Nodes, and the bodies inside them, read other values."""
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        for graph in subgraphs(node):
            own = {t.name for t in graph.initializer} | {v.name for v in graph.input} | {o for n in graph.node for o in n.output}
            outer = {old: new for old, new in names.items() if old not in own}
            read_instead(graph.node, outer)
            for value in graph.output:
                value.name = outer.get(value.name, value.name)


def before_inputs(
    proto: onnx.ModelProto, names: Iterable[str], made: Callable[[onnx.ModelProto, str, str], list[onnx.NodeProto]]
) -> onnx.ModelProto:
    """A copy that reads, in place of each named input, what new nodes make of it.

    Args:
        proto: The model.
        names: Inputs.
        made: ``(copy, input, result) -> nodes`` that write ``result``.
    """
    copy = copy_of(proto)
    results = {name: f"{TAG}{name}.read" for name in names}
    read_instead(copy.graph.node, results)
    nodes = [node for name, result in results.items() for node in made(copy, name, result)]
    kept = list(copy.graph.node)
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes, *kept])
    return copy


def add_input(proto: onnx.ModelProto, like: str, name: str) -> str:
    """A new input of the type and shape of another one."""
    value = onnx.ValueInfoProto()
    value.CopyFrom(next(v for v in proto.graph.input if v.name == like))
    value.name = name
    proto.graph.input.append(value)
    return name


def number(proto: onnx.ModelProto, like: str, value: float) -> str:
    """A scalar constant of an input's type."""
    kind = next(v for v in proto.graph.input if v.name == like).type.tensor_type.elem_type
    return add_constant(proto, "number", np.array(value, helper.tensor_dtype_to_np_dtype(kind)))
