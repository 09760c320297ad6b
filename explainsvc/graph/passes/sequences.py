"""Sequences and optionals resolved: where a graph only packs tensors and takes them out again, the tensors go directly.

What only run time knows (a position that is computed, the number of pieces of an open axis, a sequence that a loop
fills) stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.graph.passes.shapes import infer_shapes

Tensors = list[ir.Value]
"""What a sequence holds."""


@dataclass(frozen=True)
class Slices:
    """A sequence of all slices of a tensor along an axis, however many there are."""

    tensor: ir.Value
    axis: int
    keepdims: bool


@dataclass
class State:
    """What is known of the sequences so far."""

    root: ir.Graph
    known: dict[ir.Value, Tensors | Slices]
    count: int = 0

    def constant(self, array: Any) -> ir.Value:
        """A new initializer."""
        self.count += 1
        name = f"resolved.{self.count}"
        while name in self.root.initializers:
            name += "_"
        data = ir.tensor(np.asarray(array), name=name)
        value = ir.Value(name=name, shape=ir.Shape(np.shape(array)), type=ir.TensorType(data.dtype), const_value=data)
        self.root.register_initializer(value)
        return value

    def add(self, before: ir.Node, op_type: str, inputs: Sequence[ir.Value], count: int = 1, **attributes: int) -> Tensors:
        """The results of a new node."""
        node = ir.node(op_type, inputs, attributes, num_outputs=count)
        self.count += 1
        node.name = f"resolved.node.{self.count}"
        for i, value in enumerate(node.outputs):
            value.name, value.type = f"{node.name}.{i}", inputs[0].type
        assert before.graph is not None
        before.graph.insert_before(before, node)
        return list(node.outputs)


def resolve_sequences(model: ir.Model) -> bool:
    """Replaces what can be told without running the model; True when anything changed."""
    if not any(node.op_type in RULES for node in model.graph.all_nodes()):
        return False
    infer_shapes(model)
    changed = _optional_inputs(model.graph)
    changed = _resolve(model.graph, State(model.graph, {})) or changed
    common.RemoveUnusedNodesPass()(model)
    return changed


def _optional_inputs(graph: ir.Graph) -> bool:
    """Every input of a request is there: an optional tensor is a tensor."""
    optional = [v for v in graph.inputs if isinstance(v.type, ir.OptionalType)]
    for value in optional:
        assert isinstance(value.type, ir.OptionalType)
        value.type = value.type.elem_type
    return bool(optional)


def _resolve(graph: ir.Graph, state: State) -> bool:
    changed = False
    for node in list(graph):
        if (rule := RULES.get(node.op_type)) is not None and node.domain == "":
            result = rule(node, state)
            if isinstance(result, ir.Value):
                _replace(node.outputs[0], result)
                changed = True
            elif result is not None:
                state.known[node.outputs[0]] = result
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                changed = _resolve(attribute.as_graph(), state) or changed
    return changed


def _replace(value: ir.Value, by: ir.Value) -> None:
    """A graph's output keeps its name: an Identity stands in for the node that gave it."""
    if value.is_graph_output():
        producer = value.producer()
        assert producer is not None
        assert producer.graph is not None
        stand_in = ir.node("Identity", [by], name=f"{producer.name}.resolved")
        producer.graph.insert_after(producer, stand_in)
        name, shape, kind = value.name, by.shape, by.type
        value.name = f"{name}.packed"
        new = stand_in.outputs[0]
        new.name, new.shape, new.type = name, shape, kind
        value.replace_all_uses_with(new, replace_graph_outputs=True)
    else:
        value.replace_all_uses_with(by)


# What a node gives: a tensor in its place, a known sequence, or None ------------------------------------------------

Result = ir.Value | Tensors | Slices | None


def _attribute(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _number(value: ir.Value | None) -> int | None:
    """The value of a constant integer."""
    constant = None if value is None else value.const_value
    return None if constant is None or constant.size != 1 else int(constant.numpy().reshape(-1)[0])


def _sequence(node: ir.Node, state: State) -> Tensors | Slices | None:
    operand = _operand(node, 0)
    return None if operand is None else state.known.get(operand)


def _construct(node: ir.Node, _: State) -> Result:
    return [v for v in node.inputs if v is not None]


def _insert(node: ir.Node, state: State) -> Result:
    held, tensor, position = _sequence(node, state), _operand(node, 1), _operand(node, 2)
    where = _number(position)
    if not isinstance(held, list) or tensor is None or (position is not None and where is None):
        return None
    grown = list(held)
    grown.insert(len(held) if where is None else where, tensor)
    return grown


def _erase(node: ir.Node, state: State) -> Result:
    held, position = _sequence(node, state), _operand(node, 1)
    where = _number(position) if position is not None else -1
    if not isinstance(held, list) or where is None or not -len(held) <= where < len(held):
        return None
    return [v for i, v in enumerate(held) if i != where % len(held)]


def _at(node: ir.Node, state: State) -> Result:
    held, position = _sequence(node, state), _operand(node, 1)
    where = _number(position)
    if isinstance(held, Slices) and position is not None:
        if held.keepdims:
            position = state.add(node, "Reshape", [position, state.constant(np.array([1]))])[0]
        elif where is not None:
            position = state.constant(np.array(where))
        (taken,) = state.add(node, "Gather", [held.tensor, position], axis=held.axis)
        taken.type = held.tensor.type
        return taken
    if isinstance(held, list) and where is not None and -len(held) <= where < len(held):
        return held[where]
    return None


def _length(node: ir.Node, state: State) -> Result:
    held = _sequence(node, state)
    return state.constant(np.array(len(held))) if isinstance(held, list) else None


def _concat(node: ir.Node, state: State) -> Result:
    held, axis = _sequence(node, state), _attribute(node, "axis", 0)
    if not isinstance(held, list) or not held:
        return None
    if _attribute(node, "new_axis", 0):
        axes = state.constant(np.array([axis]))
        held = [state.add(node, "Unsqueeze", [v, axes])[0] for v in held]
    return state.add(node, "Concat", held, axis=axis)[0]


def _split(node: ir.Node, state: State) -> Result:
    """Equal or given pieces; without lengths one slice each, whose axis ``keepdims`` = 0 removes."""
    tensor, split = node.inputs[0], _operand(node, 1)
    axis, keepdims = _attribute(node, "axis", 0), bool(_attribute(node, "keepdims", 1))
    if tensor is None:
        return None
    if split is None:
        return Slices(tensor, axis, keepdims)
    pieces = _pieces(tensor, split, axis)
    return None if pieces is None else state.add(node, "Split", [tensor, state.constant(pieces)], len(pieces), axis=axis)


def _pieces(tensor: ir.Value, split: ir.Value, axis: int) -> list[int] | None:
    """The lengths of the pieces; the last of equal ones may be shorter."""
    if split.const_value is None:
        return None
    lengths = split.const_value.numpy()
    if lengths.ndim == 1:
        return [int(length) for length in lengths]
    whole = None if tensor.shape is None else tensor.shape[axis]
    if not isinstance(whole, int):
        return None
    step = int(lengths)
    return [min(step, whole - start) for start in range(0, whole, step)]


def _unpacked(node: ir.Node, state: State) -> Result:
    """An optional is what it holds: the element stands for it."""
    operand = _operand(node, 0)
    if operand is None or operand.name == "":
        return None
    if operand in state.known:
        return state.known[operand]
    return operand if isinstance(operand.type, ir.TensorType) else None


def _present(node: ir.Node, state: State) -> Result:
    operand = _operand(node, 0)
    if operand is None or _is_empty(operand):
        return state.constant(np.array(False))
    return state.constant(np.array(True)) if operand in state.known or isinstance(operand.type, ir.TensorType) else None


def _is_empty(operand: ir.Value) -> bool:
    producer = operand.producer()
    return producer is not None and producer.op_type == "Optional" and _operand(producer, 0) is None


RULES: dict[str, Callable[[ir.Node, State], Result]] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": lambda *_: [],
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceAt": _at,
    "SequenceLength": _length,
    "ConcatFromSequence": _concat,
    "SplitToSequence": _split,
    "Optional": _unpacked,
    "OptionalGetElement": _unpacked,
    "OptionalHasElement": _present,
}
