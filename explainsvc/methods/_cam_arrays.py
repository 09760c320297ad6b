"""Activation maps that are computed outside the graph: the layer's activation as an array, and a map laid over the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder
from explainsvc.features import result_type
from explainsvc.graph.following import Tokens
from explainsvc.method import Request
from explainsvc.methods._cam import Layer, cam_layer, reading, reading_graph
from explainsvc.methods._positions import along, upsampling

if TYPE_CHECKING:
    from explainsvc.model import Model


def layer_of(b: Builder, name: str, method: str) -> Layer:
    """The layer of a graph; see :func:`cam_layer`.

    Raises:
        MethodNotApplicable: Also where its items are not along its first axis: it could not be run in batches.
    """
    layer = cam_layer(b, name, method)
    if layer.order[0] != 0:
        raise MethodNotApplicable(
            f'"{layer.name}" does not count items along its first axis', where="parameters.layer",
            expected="a value [N, …]", to_do="Name the value before it was transposed",
        )  # fmt: skip
    return layer


def read_layer(request: Request, name: str, method: str) -> Layer:
    """The layer of a request."""
    return layer_of(reading(request), name, method)


def requires_layer(method: str) -> Callable[[Model, str, Sequence[str]], None]:
    """What a method that is no one graph requires of a model: raises where it has no such layer."""

    def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
        layer_of(reading_graph(model.graph, output, inputs), "", method)

    return requires


def activation(request: Request, layer: Layer) -> Array:
    """The layer's value as it is in the graph, by a plain forward."""
    return request.model.value_of(request.feeds, layer.name)


def in_front(request: Request, layer: Layer, value: Array) -> Array:
    """The value as [items, channels, positions…], float64; class tokens left out, a row of tokens opened to its grid."""
    turned = value.transpose(layer.order).astype(np.float64)
    spread = turned.reshape(turned.shape[: len(layer.labels) - layer.labels.count(None)])
    tokens = layer.tokens
    return spread if tokens is None else _opened(spread, grid_of(request, tokens), tokens)


def grid_of(request: Request, tokens: Tokens) -> tuple[int, ...]:
    """How many positions the tokens stand for, per axis of their grid."""
    shape = request.model.value_of(request.feeds, tokens.grid.name or "").shape
    return tuple(shape[axis] for axis in tokens.axes)


def _opened(row: Array, grid: tuple[int, ...], tokens: Tokens) -> Array:
    count = int(np.prod(grid))
    start = row.shape[2] - count if tokens.before else 0
    return row[:, :, start : start + count].reshape(*row.shape[:2], *grid)


def combined(weights: Array, a: Array, relu: bool) -> Array:
    """(Σ_k w_k A_k)⁺, [N, positions…], of weights [N, C]; signed without the ReLU."""
    heat: Array = np.einsum("nk,nk...->n...", weights, a)
    return np.maximum(heat, 0) if relu else heat


def laid_over(request: Request, layer: Layer, heat: Array, name: str) -> Array:
    """[items, positions…] upsampled linearly to one input's positions, the same along all its other axes; in its shape."""
    x, places = request.feeds[name], layer.places(name)
    up = upsampled(heat, [x.shape[axis] for axis in places])
    flat = up if layer.has_items(name) else up[0]
    lies = [*([0] if layer.has_items(name) else []), *places]
    missing = [axis for axis in range(x.ndim) if axis not in lies]
    placed = np.expand_dims(flat.transpose(np.argsort(lies)), missing)
    return np.array(np.broadcast_to(placed, x.shape))


def laid_over_inputs(request: Request, layer: Layer, heat: Array) -> dict[str, Array]:
    """:func:`laid_over` for every wanted input, in its type."""
    return {n: laid_over(request, layer, heat, n).astype(result_type(request.feeds[n])) for n in request.wanted}


def upsampled(heat: Array, sizes: list[int]) -> Array:
    """[items, positions…] resized linearly between the centres of positions, edges held: ONNX's Resize with half_pixel."""
    axes = range(1, 1 + len(sizes))
    return along([upsampling(heat.shape[axis], size) for axis, size in zip(axes, sizes, strict=True)], heat, axes)
