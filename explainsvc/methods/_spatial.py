"""Which axes of an input are positions, told by the graph."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd import Emitter, NodeView
from explainsvc.autograd.backward import nodes_between
from explainsvc.autograd.shapes import shape_of
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.features import channel_axis as image_channels
from explainsvc.graph.spatial import channel_axis

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def spatial_axes(graph: ir.Graph, name: str, target: str, method: str) -> tuple[int, tuple[int, ...]]:
    """The axis of an input that holds channels, and those that are positions, axis 0 counted.

    A convolution that reads the input with as many axes tells which is which; without one, an image [N, H, W, C] or
    [N, C, H, W] of at most 4 channels is known by its shape.

    Raises:
        MethodNotApplicable: The input has no positions.
    """
    value = find_value(graph, name)
    shape = shape_of(value)
    axis = None if shape is None else _channels(graph, value, find_value(graph, target), shape)
    if shape is None or axis is None:
        raise MethodNotApplicable(
            f'{method} needs an input with positions; "{name}" has shape {list(shape or ())}',
            where=f'input "{name}"',
            expected="an input that a convolution reads, or an image [N, C, H, W] or [N, H, W, C] of at most 4 channels",
            to_do="Use integrated_gradients",
        )
    return axis, tuple(i for i in range(1, len(shape)) if i != axis)


def _channels(graph: ir.Graph, value: ir.Value, target: ir.Value, shape: tuple[int | str | None, ...]) -> int | None:
    emit = Emitter(graph)  # writes nothing: the views only read
    path = [NodeView(node, emit) for node in nodes_between(graph, [value], target)]
    first = next((n for n in path if n.op_type in CONVOLUTIONS), None)
    if first is not None and first.y.rank == len(shape) > 2:
        return channel_axis(value, path)
    sizes = tuple(d if isinstance(d, int) else 0 for d in shape[1:])
    image = None if 0 in sizes else image_channels(sizes)
    return None if image is None else image + 1
