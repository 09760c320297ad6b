"""What one forward costs, told from shapes alone: multiply-adds and bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import onnx_ir as ir
from onnxscript import optimizer

from explainsvc.autograd.backward import operands
from explainsvc.graph.passes import quiet
from explainsvc.graph.passes.shapes import infer_shapes

FOLDED = 2**16
"""Bytes of a constant that is computed for the shape that it may be part of."""
_LISTS = frozenset({"ConstantOfShape"})
"""Computed as well, though the optimizer leaves them alone by default."""

Shape = tuple[int, ...]
Declared = Mapping[str, Sequence[int | str | None] | None]
"""Input → its declared axes, None where even their number is unknown."""


def assumed_lengths(declared: Declared, probe: Mapping[str, Shape] | None) -> dict[str, int]:
    """Open axis → the length that stands for it: 1 for one that counts items, else the probe input's (1 without a probe).

    An axis is called by its symbol, or ``input[axis]`` where it has none.
    """
    found: dict[str, int] = {}
    for name, axes in declared.items():
        for axis, length in enumerate(axes or ()):
            if not isinstance(length, int):
                known = 1 if axis == 0 or probe is None else probe[name][axis]
                found.setdefault(length or f"{name}[{axis}]", known)
    return found


def at_lengths(model: ir.Model, declared: Declared, lengths: Mapping[str, int], rounds: int = 0) -> ir.Model:
    """A copy whose inputs have static shapes (the model itself where they have them already), and what follows from that.

    What the model declares of a value counts only where inference cannot tell: exporters declare wrong shapes.

    Args:
        model: Not changed.
        declared: The shapes of its inputs.
        lengths: Of their open axes.
        rounds: How often shapes that the graph computes are computed here, for inference to go on from there.
    """
    if not lengths:
        return model
    copy = model.clone()
    for value in copy.graph.inputs:
        axes = declared.get(value.name or "")
        if axes is not None:
            sizes = [d if isinstance(d, int) else lengths[d or f"{value.name}[{i}]"] for i, d in enumerate(axes)]
            value.shape = ir.Shape(sizes)
    said = {v.name: v.shape for v in _computed(copy) if v.shape is not None}
    _infer_anew(copy)
    for _ in range(rounds):
        with quiet():
            optimizer.fold_constants(
                copy, input_size_limit=FOLDED, output_size_limit=FOLDED, should_fold=lambda node: node.op_type in _LISTS or None
            )
        _infer_anew(copy)
    for value in _computed(copy):
        if value.shape is None and (shape := said.get(value.name)) is not None:
            value.shape = ir.Shape([d if isinstance(d, int) else lengths.get(d.value or "") for d in shape])
    return copy


def _infer_anew(model: ir.Model) -> None:
    for value in (*_computed(model), *model.graph.initializers.values()):
        value.shape = None if value.const_value is None else ir.Shape(value.const_value.shape.numpy())
    infer_quietly(model)


def infer_quietly(model: ir.Model) -> None:
    """Shape inference, but not with a ZipMap: ``onnx_ir`` has no word for the type that inference gives to its result."""
    if not any(node.op_type == "ZipMap" for node in model.graph):
        with quiet():
            infer_shapes(model)


def _computed(model: ir.Model) -> list[ir.Value]:
    return [v for node in model.graph.all_nodes() for v in node.outputs]


def static_shapes(*models: ir.Model) -> dict[str, Shape]:
    """Value → its shape, for those that are static in one of the models."""
    found: dict[str, Shape] = {}
    for model in models:
        graphs = (model.graph, *model.graph.subgraphs())
        values = [v for g in graphs for v in (*g.inputs, *g.initializers.values())]
        for value in (*values, *(v for node in model.graph.all_nodes() for v in node.outputs)):
            if value.name and value.shape is not None and value.shape.is_static():
                found.setdefault(value.name, tuple(value.shape.numpy()))
    return found


def bytes_of(value: ir.Value, shapes: Mapping[str, Shape]) -> int:
    """Of one value; 0 where its shape or the size of its elements is not known."""
    shape = shapes.get(value.name or "")
    if shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return 0
    return int(-(-prod(shape) * value.dtype.bitwidth // 8))


def results(graph: ir.Graph) -> list[ir.Value]:
    """What the nodes compute; constants are weights."""
    return [v for node in graph if node.op_type != "Constant" for v in node.outputs if v.name]


def weight_bytes(graph: ir.Graph) -> int:
    """Of all initializers and Constant nodes, those of subgraphs included."""
    graphs = (graph, *graph.subgraphs())
    tensors = [v.const_value for g in graphs for v in g.initializers.values()]
    tensors += [v.const_value for n in graph.all_nodes() if n.op_type == "Constant" for v in n.outputs]
    return sum(t.nbytes for t in tensors if t is not None and t.dtype != ir.DataType.STRING)


def peak_bytes(graph: ir.Graph, shapes: Mapping[str, Shape]) -> int:
    """The most bytes of inputs and results alive at once, in the file's order, each until its last use; none shares memory."""
    order = [n for n in graph if n.op_type != "Constant"]
    kept = set(graph.outputs)
    last = {value: node for node in order for value in operands(node)}
    live = peak = sum(bytes_of(v, shapes) for v in graph.inputs if not v.is_initializer())
    for node in order:
        live += sum(bytes_of(v, shapes) for v in node.outputs)
        peak = max(peak, live)
        ended = {v for v in (*operands(node), *node.outputs) if last.get(v, node) is node and v not in kept}
        live -= sum(bytes_of(v, shapes) for v in ended if not v.is_initializer() and _is_computed(v))
    return peak


def _is_computed(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is None or producer.op_type != "Constant"
