"""Which axes of an input are positions, told by the graph."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd.shapes import Shape, shape_of
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.features import channel_axis
from explainsvc.methods._positions import convolved_axes


def spatial_axes(graph: ir.Graph, name: str, target: str, method: str) -> tuple[int, tuple[int, ...]]:
    """The axis of an input that holds channels, and those that are positions, axis 0 counted.

    A convolution that reads the input with as many axes tells which is which; without one, an image [N, H, W, C] or
    [N, C, H, W] of at most 4 channels is known by its shape.

    Raises:
        MethodNotApplicable: The input has no positions.
    """
    shape = shape_of(find_value(graph, name))
    axis = None if shape is None else _channels(graph, name, target, shape)
    if shape is None or axis is None:
        raise MethodNotApplicable(
            f'{method} needs an input with positions; "{name}" has shape {list(shape or ())}',
            where=f'input "{name}"',
            expected="an input that a convolution reads, or an image [N, C, H, W] or [N, H, W, C] of at most 4 channels",
            to_do="Use integrated_gradients",
        )
    return axis, tuple(i for i in range(1, len(shape)) if i != axis)


def _channels(graph: ir.Graph, name: str, target: str, shape: Shape) -> int | None:
    rest = set(range(1, len(shape))) - set(convolved_axes(graph, name, target))
    if len(rest) == 1 and len(shape) > 2:
        return rest.pop()
    sizes = tuple(d if isinstance(d, int) else 0 for d in shape[1:])
    image = None if 0 in sizes else channel_axis(sizes)
    return None if image is None else image + 1
