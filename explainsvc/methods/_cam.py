"""What the class-activation methods share: the layer, the weighted map, its way up to the input's size."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd import Term
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder, find_value
from explainsvc.graph.spatial import channel_axis, default_layer, spatial_values


def cam_layer(b: Builder, name: str, method: str) -> Term:
    """The tapped value: the one named, or the last one with spatial extent.

    Raises:
        MethodNotApplicable: The model has no spatial activations, or the named value is none.
        TargetOutOfRange: No value has this name.
    """
    path = b.path()
    value = find_value(b.graph, name) if name else default_layer(path, b.target.value)
    rank = None if value is None or value.shape is None else len(value.shape)
    if value is None or rank not in (3, 4, 5):
        known = ", ".join(v.name or "" for v in spatial_values(path)[-5:])
        found = f'"{name}" has none' if name else "there are none"
        raise MethodNotApplicable(
            f"{method} needs activations with spatial extent [N, C, H, W]; {found}",
            where="parameters.layer" if name else "model",
            expected=f"a value such as {known}" if known else "a model with convolutions between the input and the target",
            to_do="Use gradient or occlusion",
        )
    return b.emit.term(value)


def grad_cam_map(b: Builder, layer: Term, relu: bool) -> Term:
    """Σ_k α_k A_k with α_k = mean over positions of ∂S/∂A_k; [N, 1, spatial…] (Selvaraju et al. 2017, equations 1 and 2)."""
    gradient = b.backward_to(layer)
    positions = list(range(2, layer.rank or 4))
    alpha = b.emit.mean(gradient, positions)
    combined = b.emit.sum(alpha * layer, [1])
    return b.emit.op("Relu", combined) if relu else combined


def to_input_size(b: Builder, heat: Term, wanted: Term) -> Term:
    """[N, 1, spatial…] upsampled linearly to the input's positions, the same for every channel, in the input's layout."""
    axis, rank = channel_axis(wanted.value, b.path()), wanted.rank
    if rank != heat.rank or rank is None:
        raise MethodNotApplicable(
            f'a map of {heat.rank} axes does not lie over the input "{wanted.value.name}" of {rank} axes',
            expected="an input [N, C, spatial…] or [N, spatial…, C]",
            to_do="Use gradient or occlusion",
        )
    order = [0, axis, *(i for i in range(1, rank) if i != axis)]
    positions = b.emit.op("Gather", b.emit.shape(wanted), b.emit.ints(order[2:]), dtype=ir.DataType.INT64, axis=0)
    items = b.emit.op("Slice", b.emit.shape(heat), b.emit.ints([0]), b.emit.ints([2]), dtype=ir.DataType.INT64)
    size = b.emit.op("Concat", items, positions, dtype=ir.DataType.INT64, axis=0)
    up = b.emit.op("Resize", heat, None, None, size, mode="linear", coordinate_transformation_mode="half_pixel")
    back = [order.index(i) for i in range(rank)]
    placed = up if back == list(range(rank)) else b.emit.op("Transpose", up, perm=back)
    return b.emit.expand_like(placed, wanted)
