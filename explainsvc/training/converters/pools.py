"""Pools of any padding, and those over all positions."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F

from explainsvc.errors import NotTrainable
from explainsvc.training.converters.operator import Call, Tensor, operand_form, operator, refuse_others, single_result
from explainsvc.training.converters.windows import padded, window

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _kernel(call: Call) -> tuple[int, ...]:
    kernel = tuple(call.get("kernel_shape"))
    if len(kernel) not in _MAX:
        raise NotTrainable(f"its window has {len(kernel)} axes", expected="1, 2 or 3")
    return kernel


@operand_form("MaxPool")
def max_pool(call: Call, x: Tensor) -> Tensor:
    """Padding never is the maximum: it is −∞."""
    single_result(call)
    kernel = _kernel(call)
    found = window(call, kernel, x.shape[2:])
    result: Tensor = _MAX[len(kernel)](
        padded(x, found.begin, found.filled, float("-inf")), kernel, found.strides, 0, found.dilations
    )
    return result


@operand_form("AveragePool")
def average_pool(call: Call, x: Tensor) -> Tensor:
    """The mean of a window's values; its padding is left out, or counts as zeros where ``count_include_pad`` says so."""
    kernel = _kernel(call)
    refuse_others(call, dilations=[1] * len(kernel))
    found = window(call, kernel, x.shape[2:])
    pool = _MEAN[len(kernel)]
    mean: Tensor = pool(padded(x, found.begin, found.filled), kernel, found.strides)
    if not any((*found.begin, *found.end)) and not any(n > 0 for n in found.filled):
        return mean
    counted, before, behind = torch.ones_like(x[:1, :1]), found.begin, found.filled
    if call.get("count_include_pad", 0):  # what ceil_mode adds behind the padding never counts
        counted, before = padded(counted, found.begin, found.end, 1.0), (0,) * len(kernel)
        behind = tuple(f - e for f, e in zip(found.filled, found.end, strict=True))
    share: Tensor = pool(padded(counted, before, behind), kernel, found.strides)
    return mean / share


@operator("GlobalMaxPool", since=1)
def global_max_pool(_call: Call, x: Tensor) -> Tensor:
    """The largest value of every channel; its gradient goes to one position, as in torch's pools."""
    flat = x.flatten(2)
    return flat.max(-1).values.reshape(*x.shape[:2], *[1] * (x.dim() - 2))


@operator("GlobalLpPool", since=2)
def global_lp_pool(call: Call, x: Tensor) -> Tensor:
    """The p-norm of every channel."""
    norm: Tensor = torch.linalg.vector_norm(x, call.get("p", 2), dim=tuple(range(2, x.dim())), keepdim=True)
    return norm


@operator("LpPool", since=2)
def lp_pool(call: Call, x: Tensor) -> Tensor:
    """The p-norm of every window; padding is zero."""
    kernel, p = _kernel(call), call.get("p", 2)
    refuse_others(call, dilations=[1] * len(kernel))
    found = window(call, kernel, x.shape[2:])
    powers = padded(x.abs() ** p, found.begin, found.filled)
    result: Tensor = (_MEAN[len(kernel)](powers, kernel, found.strides) * prod(kernel)) ** (1 / p)
    return result
