"""Pointwise functions that onnx2torch lacks, and Clip, whose bounds may be operands or left out."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from explainsvc.training.converters.operator import Call, Given, Tensor, operand_form, operator

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Acosh": torch.acosh, "Asinh": torch.asinh, "Atanh": torch.atanh, "Cosh": torch.cosh, "Sinh": torch.sinh, "Mish": F.mish,
}  # fmt: skip


def _register() -> None:
    for op_type, function in _UNARY.items():
        operator(op_type, since=1)(lambda _call, x, own=function: own(x))


_register()


@operator("Gelu", since=20)
def gelu(call: Call, x: Tensor) -> Tensor:
    """x Φ(x), or its tanh approximation (Hendrycks & Gimpel 2016)."""
    return F.gelu(x, approximate=call.get("approximate", "none"))


@operator("Swish", since=24)
def swish(call: Call, x: Tensor) -> Tensor:
    """x σ(α x) (Ramachandran et al. 2017)."""
    return x * torch.sigmoid(call.get("alpha", 1.0) * x)


@operator("ThresholdedRelu", since=10)
def thresholded_relu(call: Call, x: Tensor) -> Tensor:
    """x where it is larger than α, else 0."""
    return torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x))


@operator("Shrink", since=9)
def shrink(call: Call, x: Tensor) -> Tensor:
    """x + bias below −λ, x − bias above λ, 0 between."""
    bias, limit = call.get("bias", 0.0), call.get("lambd", 0.5)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))


@operand_form("Clip")
def clip(_call: Call, x: Tensor, low: Given = None, high: Given = None) -> Tensor:
    """Between two bounds, of which either may be left out, which onnx2torch takes for a computed one."""
    return x if low is None and high is None else torch.clamp(x, low, high)


@operand_form("Selu")
def selu(call: Call, x: Tensor) -> Tensor:
    """γ (max(0, x) + min(0, α (eˣ − 1))) (Klambauer et al. 2017, eq. 2); exporters write α and γ as rounded as they like."""
    alpha, gamma = call.get("alpha", 1.6732632), call.get("gamma", 1.0507010)
    result: Tensor = gamma * F.elu(x, alpha)
    return result
