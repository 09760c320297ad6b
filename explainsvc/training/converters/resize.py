"""Resize by any of ONNX's coordinate systems, one axis after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from explainsvc.errors import NotTrainable
from explainsvc.training.converters.operator import Call, Given, Tensor, operator, refuse_others

_ROUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda c: torch.ceil(c - 0.5),
    "round_prefer_ceil": lambda c: torch.floor(c + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


@operator("Resize", since=18)
def resize(call: Call, x: Tensor, _roi: Given = None, scales: Given = None, sizes: Given = None) -> Tensor:
    """Nearest and linear interpolation, which are separable (ONNX, operator Resize and its reference implementation)."""
    refuse_others(call, antialias=0, keep_aspect_ratio_policy="stretch")
    axes = call.get("axes") or range(x.dim())
    for k, axis in enumerate(axes):
        length = x.shape[axis]
        if sizes is not None and sizes.numel():
            result = int(sizes[k])
            scale = result / length
        elif scales is not None:
            scale = float(scales[k])
            result = int(length * scale)
        else:
            raise NotTrainable("it has neither scales nor sizes")
        if (result, scale) != (length, 1.0):
            x = _along(call, x, axis, coordinates(call, length, result, scale).to(x.device))
    return x


def coordinates(call: Call, length: int, result: int, scale: float) -> Tensor:
    """Where the elements of the result lie on the axis of the operand."""
    i = torch.arange(result, dtype=torch.float32)
    mode = call.get("coordinate_transformation_mode", "half_pixel")
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (length - 1) / max(result - 1, 1)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and result > 1):
        return (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return torch.zeros(1)
    raise NotTrainable(f"its coordinates are {mode}", expected="asymmetric, align_corners, half_pixel or pytorch_half_pixel")


def _along(call: Call, x: Tensor, axis: int, places: Tensor) -> Tensor:
    last, mode = x.shape[axis] - 1, call.get("mode", "nearest")
    if mode == "nearest":
        rounded = _ROUNDED[call.get("nearest_mode", "round_prefer_floor")](places)
        return x.index_select(axis, rounded.long().clamp(0, last))
    if mode != "linear":
        raise NotTrainable(f"its mode is {mode}", expected="nearest or linear")
    places = places.clamp(0, last)
    low = places.long()
    weight = (places - low).to(x.dtype).reshape(-1, *[1] * (x.dim() - 1 - axis % x.dim()))
    return (1 - weight) * x.index_select(axis, low) + weight * x.index_select(axis, (low + 1).clamp(max=last))
