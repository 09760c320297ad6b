"""Activation functions: their attributes, both sides of their corners, and large operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.autograd.harness import Case, check, emitted
from tests.autograd.rows import both, normal, without_ranks

MICROSOFT = "com.microsoft"


def fused(op_type: str, operands: list[Any], function: Any, **attributes: Any) -> Case:
    """A case of one of onnxruntime's own operators, for which no float64 evaluator exists."""
    return Case(op_type, operands, attributes, torch=function, domain=MICROSOFT, finite_differences=False)


def hard_sigmoid(alpha: float, beta: float) -> Any:
    """ONNX' HardSigmoid."""
    return lambda x: (alpha * x + beta).clamp(0, 1)


def elu(alpha: float) -> Any:
    """ONNX' Elu."""
    return lambda x: F.elu(x, alpha)


def selu(alpha: float, gamma: float) -> Any:
    """ONNX' Selu, whose two constants are attributes."""
    return lambda x: gamma * F.elu(x, alpha)


def tanh_gelu(x: Any) -> Any:
    """GELU through tanh."""
    return F.gelu(x, approximate="tanh")


X = 3 * normal(3, 4)
SLOPES = [((2, 3, 4), (3, 1)), ((2, 3), ()), ((2, 3, 2, 2), (1, 3, 1, 1)), ((2, 3), (2, 3))]

SIMPLE = both(
    Case("Relu", [X], torch=F.relu),
    Case("LeakyRelu", [X], torch=lambda x: F.leaky_relu(x, 0.01)),
    Case("LeakyRelu", [X], {"alpha": 0.3}, torch=lambda x: F.leaky_relu(x, 0.3)),
    Case("Elu", [X], torch=F.elu),
    Case("Elu", [X], {"alpha": 0.4}, torch=elu(0.4)),
    Case("Selu", [X], torch=F.selu),
    Case("Selu", [X], {"alpha": 0.7, "gamma": 1.3}, torch=selu(0.7, 1.3)),
    Case("Celu", [X], torch=F.celu),
    Case("Celu", [X], {"alpha": 2.5}, torch=lambda x: F.celu(x, 2.5)),
    Case("ThresholdedRelu", [X], torch=lambda x: F.threshold(x, 1.0, 0.0)),
    Case("ThresholdedRelu", [X], {"alpha": 0.2}, torch=lambda x: F.threshold(x, 0.2, 0.0)),
    Case("Shrink", [X], torch=lambda x: F.hardshrink(x, 0.5), finite_differences=False),  # float32 inside onnxruntime
    Case("Shrink", [X], {"lambd": 1.5, "bias": 1.5}, torch=lambda x: F.softshrink(x, 1.5), finite_differences=False),
    Case("Sigmoid", [X], torch=torch.sigmoid),
    Case("HardSigmoid", [X], torch=hard_sigmoid(0.2, 0.5)),
    Case("HardSigmoid", [X], {"alpha": 0.6, "beta": 0.3}, torch=hard_sigmoid(0.6, 0.3)),
    Case("HardSwish", [2 * X], torch=F.hardswish),
    Case("Swish", [X], torch=F.silu, opset=24),
    Case("Swish", [X], {"alpha": 0.5}, torch=lambda x: x * torch.sigmoid(0.5 * x), opset=24),
    Case("Tanh", [X], torch=torch.tanh),
    Case("Softplus", [X], torch=F.softplus),
    Case("Softsign", [X], torch=F.softsign),
    Case("Mish", [X], torch=F.mish),
    Case("Gelu", [X], torch=F.gelu, finite_differences=False),  # the reference evaluator's Erf is float32
    Case("Gelu", [X], {"approximate": "tanh"}, torch=tanh_gelu),
    Case("Relu", [np.array(1.5)], torch=F.relu),
    Case("Gelu", [np.array(1.5)], torch=F.gelu, finite_differences=False),
)
LEAKS = both(
    *(Case("PRelu", [normal(*s), normal(*w, seed=1)], torch=lambda x, w: torch.where(x > 0, x, w * x)) for s, w in SLOPES)
)
FUSED = [
    fused("Gelu", [X], F.gelu),
    fused("QuickGelu", [X], lambda x: x * torch.sigmoid(1.702 * x)),
    fused("QuickGelu", [X], lambda x: x * torch.sigmoid(2 * x), alpha=2.0),
    fused("FastGelu", [X], tanh_gelu),
    fused("FastGelu", [X, normal(4)], lambda x, b: tanh_gelu(x + b)),
    fused("BiasGelu", [X, normal(4)], lambda x, b: F.gelu(x + b)),
]
LARGE = np.array([-1e4, -200.0, -90.0, -30.0, 0.0, 30.0, 90.0, 200.0, 1e4])
CURVES = ["Softplus", "Sigmoid", "Tanh", "Mish", "Gelu", "Softsign", "Elu", "Selu", "Celu", "HardSwish"]
TORCH = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    **{o: getattr(F, o.lower()) for o in CURVES if o not in ("Sigmoid", "Tanh")},
}


@pytest.mark.parametrize("case", [*SIMPLE, *LEAKS, *FUSED], ids=str)
def test_gradient(case: Case) -> None:
    """The gradient equals torch autograd and central finite differences."""
    check(case)


@pytest.mark.parametrize("op_type", CURVES)
def test_large_operands(op_type: str) -> None:
    """Far from zero the gradient is torch's: finite, and neither overflown nor 0 · ∞."""
    feeds, gradients, seed = emitted(Case(op_type, [LARGE]))
    x = torch.tensor(feeds["x0"].astype(np.float64), requires_grad=True)
    TORCH[op_type](x).backward(torch.tensor(seed.astype(np.float64)))
    np.testing.assert_allclose(gradients[0], x.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in LEAKS if not c.dynamic], ids=str)
def test_unknown_rank(case: Case) -> None:
    """PRelu's slope is summed over the axes that only run time knows."""
    without_ranks(case)
