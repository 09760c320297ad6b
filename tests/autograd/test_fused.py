"""Gradients of the fused operators that onnxruntime's optimisers write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case, build, check

rng = np.random.default_rng(0)

ACTIVATIONS: dict[str, tuple[list[float], Any]] = {
    "Relu": ([], torch.relu),
    "LeakyRelu": ([0.25], lambda x: functional.leaky_relu(x, 0.25)),
    "Sigmoid": ([], torch.sigmoid),
    "Tanh": ([], torch.tanh),
    "Clip": ([-0.5, 1.5], lambda x: x.clamp(-0.5, 1.5)),
    "HardSigmoid": ([0.2, 0.5], lambda x: (0.2 * x + 0.5).clamp(0, 1)),
}


def fused(op_type: str, shapes: list[tuple[int, ...]], like: Any, **attributes: Any) -> Case:
    """A com.microsoft case; onnx knows no other evaluator of it, so torch alone is the truth."""
    operands = [rng.standard_normal(s) for s in shapes]
    return Case(op_type, operands, attributes, torch=like, domain="com.microsoft", finite_differences=False)


def fused_conv(activation: str) -> Case:
    """Conv + summand + activation."""
    parameters, function = ACTIVATIONS[activation]

    def run(x: Any, w: Any, b: Any, z: Any) -> Any:
        return function(functional.conv2d(x, w, b, padding=1) + z)

    extra = {"activation_params": parameters} if parameters else {}
    shapes = [(1, 2, 4, 4), (3, 2, 3, 3), (3,), (1, 3, 4, 4)]
    return fused("FusedConv", shapes, run, activation=activation, kernel_shape=[3, 3], pads=[1] * 4, **extra)


def fused_gemm(activation: str) -> Case:
    """Gemm + activation."""
    parameters, function = ACTIVATIONS[activation]
    extra = dict(zip(("activation_alpha", "activation_beta"), parameters, strict=False))
    shapes = [(3, 4), (2, 4), (2,)]
    return fused(
        "FusedGemm",
        shapes,
        lambda a, b, c: function(0.5 * a @ b.T + c),
        activation=activation,
        transB=1,
        alpha=0.5,
        **extra,
    )


CASES = [
    *(fused_conv(a) for a in ACTIVATIONS),
    *(fused_gemm(a) for a in ("Relu", "LeakyRelu", "Sigmoid", "Tanh")),
    fused("FusedMatMul", [(2, 3, 4), (2, 4, 2)], torch.matmul),
    fused("FusedMatMul", [(2, 4, 3), (4, 2)], lambda a, b: 0.5 * a.mT @ b, transA=1, alpha=0.5),
    fused("FusedMatMul", [(2, 3, 4), (2, 2, 4)], lambda a, b: a @ b.mT, transB=1),
    fused("FusedMatMul", [(3, 2, 4), (2, 4, 5)], lambda a, b: a.transpose(0, 1) @ b, transBatchA=1),
    fused("FusedMatMul", [(4, 2, 3), (2, 5, 4)], lambda a, b: a.permute(1, 2, 0) @ b.mT, transBatchA=1, transA=1, transB=1),
    fused("FusedMatMul", [(2, 6, 3, 4), (4, 2, 6, 5)], lambda a, b: a @ b.permute(1, 2, 0, 3), transBatchB=1),
    fused("FusedMatMul", [(2, 3, 4), (4,)], lambda a, b: 0.5 * a @ b, alpha=0.5),
    fused("FusedMatMul", [(4,), (2, 4, 3)], lambda a, b: 0.5 * a @ b, alpha=0.5),
    fused("TransposeMatMul", [(2, 4, 3), (4, 2)], lambda a, b: 0.5 * a.mT @ b, transA=1, alpha=0.5),
]


@pytest.mark.parametrize("case", [*CASES, *(replace(c, dynamic=True) for c in CASES)], ids=str)
def test_fused(case: Case) -> None:
    """The gradient passes the activation first and then the linear operator."""
    check(case)


def test_transposed_batch_axes_of_unknown_rank_are_refused_by_name() -> None:
    """Which axes are the batch only the rank tells; without it the error names the node."""
    proto = build(fused("FusedMatMul", [(2, 3, 4), (3, 4, 2)], None, transBatchA=1), np.float32)
    for value in proto.graph.input:
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(NotDifferentiable, match=r'"it" \(FusedMatMul\)'):
        differentiate(proto, ["x0"])
