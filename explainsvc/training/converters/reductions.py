"""Reductions whose axes are an operand, as ONNX has them from opset 18 on."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch

from explainsvc.training.converters.operator import Call, Formula, Given, Tensor, operator

Axes = tuple[int, ...]
Reduction = Callable[[Tensor, Axes, bool], Tensor]


def _product(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """Axis by axis, which is all that torch has."""
    kept = reduce(lambda t, axis: t.prod(axis, keepdim=True), axes, x)
    return kept if keep else kept.squeeze(axes)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


def _formula(own: Reduction) -> Formula:
    def reduced(call: Call, x: Tensor, axes: Given = None) -> Tensor:
        named = [] if axes is None else axes.tolist()
        if not named and call.get("noop_with_empty_axes", 0):
            return x
        return own(x, tuple(named or range(x.dim())), bool(call.get("keepdims", 1)))

    return reduced


def _register() -> None:
    for op_type, own in _REDUCTIONS.items():
        operator(op_type, since=18)(_formula(own))


_register()
