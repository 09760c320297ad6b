"""Operators that move, cut or lay out values: the versions that current exporters write."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F

from explainsvc.errors import NotTrainable
from explainsvc.training.converters.operator import Call, Given, Tensor, operand_form, operator, refuse_others


@operator("Reshape", since=19)
def reshape(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    """0 keeps an axis' length, unless ``allowzero``; −1 is what remains."""
    keeps = not call.get("allowzero", 0)
    return x.reshape([x.shape[k] if n == 0 and keeps else n for k, n in enumerate(shape.tolist())])


@operand_form("Flatten")
def flatten(call: Call, x: Tensor) -> Tensor:
    """[axes before ``axis``, the others]; onnx2torch has no answer for a single axis."""
    axis = call.get("axis", 1)
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


@operator("Split", since=18)
def split(call: Call, x: Tensor, sizes: Given = None) -> Sequence[Tensor]:
    """Into the given sizes, or into equal ones of which the last may be smaller."""
    axis = call.get("axis", 0)
    if sizes is not None:
        return torch.split_with_sizes(x, sizes.tolist(), axis)
    count = call.get("num_outputs", call.outputs)
    length = x.shape[axis]
    share = -(-length // count)
    return torch.split_with_sizes(x, [min(share, length - k * share) for k in range(count)], axis)


@operator("Pad", since=18)
def pad(call: Call, x: Tensor, pads: Tensor, value: Given = None, axes: Given = None) -> Tensor:
    """Of one mode for all axes; negative pads cut."""
    named = range(x.dim()) if axes is None else [axis % x.dim() for axis in axes.tolist()]
    before, behind = [0] * x.dim(), [0] * x.dim()
    for k, axis in enumerate(named):
        before[axis], behind[axis] = int(pads[k]), int(pads[k + len(named)])
    order = [n for pair in zip(reversed(before), reversed(behind), strict=True) for n in pair]
    mode = call.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, order, value=0.0 if value is None else value.item())
    return _padded_from_within(x, before, behind, mode)


def _padded_from_within(x: Tensor, before: list[int], behind: list[int], mode: str) -> Tensor:
    """Axis by axis, the positions that every new element is a copy of."""
    for axis, (low, high) in enumerate(zip(before, behind, strict=True)):
        if low or high:
            length = x.shape[axis]
            places = torch.arange(-low, length + high, device=x.device)
            x = x.index_select(axis, _source(places, length, mode))
    return x


def _source(places: Tensor, length: int, mode: str) -> Tensor:
    if mode == "edge":
        return places.clamp(0, length - 1)
    if mode == "wrap":
        return places % length
    if mode != "reflect":
        raise NotTrainable(f"its mode is {mode}", expected="constant, edge, reflect or wrap")
    period = max(2 * (length - 1), 1)
    folded = places % period
    return torch.minimum(folded, period - folded) if length > 1 else folded


@operator("Trilu", since=14)
def trilu(call: Call, x: Tensor, k: Given = None) -> Tensor:
    """The upper or lower triangle."""
    diagonal = 0 if k is None else int(k)
    return x.triu(diagonal) if call.get("upper", 1) else x.tril(diagonal)


@operator("Size", since=1)
def size(_call: Call, x: Tensor) -> Tensor:
    """The number of elements."""
    return torch.tensor(x.numel(), device=x.device)


@operator("CastLike", since=15)
def cast_like(_call: Call, x: Tensor, like: Tensor) -> Tensor:
    """In the type of another value."""
    return x.to(like.dtype)


@operator("SpaceToDepth", since=1)
def space_to_depth(call: Call, x: Tensor) -> Tensor:
    """Blocks of b × b positions become channels, position before channel (unlike torch's pixel_unshuffle)."""
    b, (n, c, h, w) = call.get("blocksize"), x.shape
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@operand_form("DepthToSpace")
def depth_to_space(call: Call, x: Tensor) -> Tensor:
    """Channels become blocks of b × b positions; onnx2torch lacks ONNX's default, position before channel (DCR)."""
    b, (n, c, h, w) = call.get("blocksize"), x.shape
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


@operand_form("GatherElements")
def gather_elements(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    """Negative indices count from the end, which onnx2torch forgets."""
    axis = call.get("axis", 0)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


@operator("OneHot", since=9)
def one_hot(call: Call, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """values[1] where the new axis' position is the index, else values[0]; negative indices count from the end."""
    classes, axis = int(depth), call.get("axis", -1)
    places = torch.arange(classes, device=indices.device)
    wanted = (indices.long() + torch.where(indices < 0, classes, 0)).unsqueeze(axis)
    shape = [1] * wanted.dim()
    shape[axis] = classes
    return torch.where(wanted == places.reshape(shape), values[1], values[0])


@operator("ScatterElements", since=11)
def scatter_elements(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Updates in the places that the indices name along an axis."""
    refuse_others(call, reduction="none")
    axis = call.get("axis", 0)
    places = torch.where(indices < 0, indices + x.shape[axis], indices)
    return x.scatter(axis, places.long(), updates)


@operand_form("Slice")
def slice_(_call: Call, x: Tensor, starts: Tensor, ends: Tensor, axes: Given = None, steps: Given = None) -> Tensor:
    """As numpy's slices; onnx2torch indexes by a list of them, which torch is about to read otherwise."""
    count = starts.numel()
    named = range(count) if axes is None else axes.tolist()
    strides = [1] * count if steps is None else steps.tolist()
    for axis, start, end, stride in zip(named, starts.tolist(), ends.tolist(), strides, strict=True):
        low, high, step = slice(start, end, stride).indices(x.shape[axis])
        if step > 0:
            x = x[(slice(None),) * (axis % x.dim()) + (slice(low, high, step),)]
        else:  # torch has no negative steps
            x = x.index_select(axis, torch.arange(low, min(low, high), step, device=x.device))
    return x


@operand_form("Squeeze")
def squeeze(_call: Call, x: Tensor, axes: Given = None) -> Tensor:
    """Axes count in the operand; onnx2torch counts negative ones in what is left."""
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.reshape(-1).tolist()))


@operand_form("Unsqueeze")
def unsqueeze(_call: Call, x: Tensor, axes: Tensor) -> Tensor:
    """Axes count in the result; onnx2torch sorts negative ones before the others."""
    named = axes.reshape(-1).tolist()
    rank = x.dim() + len(named)
    for axis in sorted(axis % rank for axis in named):
        x = x.unsqueeze(axis)
    return x
