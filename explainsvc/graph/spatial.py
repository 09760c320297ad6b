"""Where a graph has spatial activations, and how an input's axes map to them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from explainsvc.autograd.shapes import shape_of
from explainsvc.autograd.view import NodeView

_STARTS = frozenset({"Conv", "ConvTranspose"})
_KEEPS_LAYOUT = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid Tanh HardSwish Swish Softplus Softsign Gelu Mish Clip Erf "
    "ThresholdedRelu Add Sub Mul Div Sum Mean Max Min Concat MaxPool AveragePool LpPool BatchNormalization LRN "
    "InstanceNormalization GroupNormalization Dropout Identity Cast Pad Resize Split DepthToSpace SpaceToDepth".split()
)


def spatial_values(path: Sequence[NodeView]) -> list[ir.Value]:
    """Results in [N, C, spatial…] layout with more than one position: convolutions and what keeps their layout."""
    inside: set[ir.Value] = set()
    found = []
    for n in path:
        fed = any(v in inside for v in n.node.inputs if v is not None)
        if n.op_type in _STARTS or (fed and n.op_type in _KEEPS_LAYOUT):
            inside.update(n.node.outputs)
            found += [v for v in n.node.outputs if v.name and _is_spatial(v)]
    return found


def _is_spatial(value: ir.Value) -> bool:
    shape = shape_of(value)
    return shape is not None and len(shape) in (3, 4, 5) and any(d != 1 for d in shape[2:])


def default_layer(path: Sequence[NodeView], target: ir.Value) -> ir.Value | None:
    """The last spatial value before global pooling or flattening (Grad-CAM's usual layer); None where there is none."""
    values = [v for v in spatial_values(path) if v is not target]
    return values[-1] if values else None


def channel_axis(value: ir.Value, path: Sequence[NodeView]) -> int:
    """The axis of an input that holds channels, found by following it to the first convolution; 1 where nothing says otherwise.

    A Transpose on the way tells a channels-last input: ``perm[1]`` is where the convolution's channels come from.
    """
    axis, reached = 1, {value}
    for n in path:
        if not any(v in reached for v in n.node.inputs if v is not None):
            continue
        if n.op_type in _STARTS:
            return axis
        if n.op_type == "Transpose":
            axis = int((n.attr("perm") or (0, 1))[axis])
        elif n.op_type == "Reshape" and _moves_singleton_channel(n):
            axis = (n.x.rank or 4) - 1
        reached.update(n.node.outputs)
    return axis


def _moves_singleton_channel(n: NodeView) -> bool:
    """[N, H, W, 1] → [N, 1, H, W] written as a Reshape, as TensorFlow exporters do for one channel."""
    before, after = n.x.shape, n.y.shape
    return (
        before is not None and after is not None and len(before) == len(after) > 2
        and before[-1] == 1 and after[1] == 1 and tuple(before[1:-1]) == tuple(after[2:]) and before[1] != 1
    )  # fmt: skip
