"""Positions: which axes of an input hold them, and linear maps along them: interpolation, one matrix an axis, and blur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from scipy import ndimage

from explainsvc.autograd import Emitter, NodeView
from explainsvc.autograd.backward import nodes_between
from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.explained import find_value
from explainsvc.features import channel_axis
from explainsvc.graph.spatial import input_positions
from explainsvc.method import Request

if TYPE_CHECKING:
    from explainsvc.model import Model


MANY = 1024
"""Stands for a length that the model leaves open: more than channels or a kernel have."""


def position_axes(request: Request, name: str, given: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of one item that hold positions, ascending; () where there are none.

    Those that the user names; else, where the input goes into a convolution, all but its channels; else those of an
    image: three axes, one of them with at most 4 channels.

    Raises:
        InvalidParameter: The user names an axis that the item does not have, or one twice.
    """
    shape = request.item_shape(name)
    if given:
        axes = tuple(sorted(a % len(shape) for a in given if -len(shape) <= a < len(shape)))
        if len(set(axes)) != len(given):
            wrong = f'is {list(given)}, expected different axes of one item of "{name}", {list(shape)}'
            raise InvalidParameter("the axes do not fit", violations=[Violation("parameters.axes", wrong)])
        return axes
    convolved = _convolved_axes(request, name)
    if convolved:
        return convolved
    channel = channel_axis(shape)
    return () if channel is None else tuple(a for a in range(3) if a != channel)


def convolved_axes(graph: ir.Graph, name: str, target: str) -> tuple[int, ...]:
    """The axes of an input, axis 0 counted, that a convolution takes for positions, whatever the layout; () without one."""
    value, emit = find_value(graph, name), Emitter(graph)  # writes nothing: the views only read
    return input_positions([NodeView(node, emit) for node in nodes_between(graph, [value], find_value(graph, target))], value)


def declared_item(model: Model, name: str) -> tuple[int, ...] | None:
    """The declared shape of one item of an input, MANY where a length is open; None where not even the rank is declared."""
    shape = next(t.shape for t in model.inputs if t.name == name)
    if shape is None:
        return None
    return tuple(d if isinstance(d, int) else MANY for d in (shape[1:] if model.leads_with_items(name) else shape))


def _convolved_axes(request: Request, name: str) -> tuple[int, ...]:
    """The same, of one item."""
    lead = int(request.has_items(name))
    return tuple(a - lead for a in convolved_axes(request.model.graph, name, request.target.output))


def interpolation(positions: Array, cells: int) -> Array:
    """Linear interpolation between ``cells`` values at real positions (0 … cells − 1, clamped): [positions, cells]."""
    distance = np.abs(np.clip(positions, 0, cells - 1)[:, None] - np.arange(cells))
    return np.asarray(np.clip(1 - distance, 0, None))


def upsampling(cells: int, size: int) -> Array:
    """Linear upsampling, half-pixel centres, edges clamped, as image libraries and ONNX's Resize do: [size, cells]."""
    return interpolation((np.arange(size) + 0.5) * cells / size - 0.5, cells)


def blurred(values: Array, sigma: float, axes: Sequence[int]) -> Array:
    """Gaussian blur along ``axes`` with standard deviation ``sigma`` in positions, edge values repeated beyond the edges."""
    for axis in axes:
        values = ndimage.gaussian_filter1d(values, sigma, axis=axis, mode="nearest") if sigma > 0 else values
    return np.asarray(values)


def along(matrices: Sequence[Array], values: Array, axes: Sequence[int]) -> Array:
    """Each matrix [new, old] applied along its axis of ``values``. Its adjoint has the transposed matrices."""
    if values.ndim == 2 and tuple(axes) == (0, 1):  # of a small array tensordot takes ten times as long
        rows, columns = matrices
        return np.asarray(rows @ values @ columns.T)
    for matrix, axis in zip(matrices, axes, strict=True):
        values = np.asarray(np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis))
    return values
