"""Gradients of Gemm, MatMul and Einsum with respect to every operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case
from tests.autograd.multilinear import check_multilinear

rng = np.random.default_rng(0)


def matmul(a: Sequence[int], b: Sequence[int]) -> Case:
    """A MatMul case of these shapes."""
    return Case("MatMul", [rng.standard_normal(a), rng.standard_normal(b)], torch=torch.matmul)


def gemm(c: Sequence[int] | None = None, **attributes: Any) -> Case:
    """A Gemm case [3, 5] · [5, 4] with ``c`` of the given shape."""
    a = rng.standard_normal((5, 3) if attributes.get("transA") else (3, 5))
    b = rng.standard_normal((4, 5) if attributes.get("transB") else (5, 4))
    operands = [a, b, *([] if c is None else [rng.standard_normal(c)])]

    def run(a: Any, b: Any, c: Any = 0.0) -> Any:
        product = (a.T if attributes.get("transA") else a) @ (b.T if attributes.get("transB") else b)
        return attributes.get("alpha", 1.0) * product + attributes.get("beta", 1.0) * c

    return Case("Gemm", operands, attributes, torch=run)


def einsum(equation: str, *shapes: Sequence[int]) -> Case:
    """An Einsum case of these operand shapes."""
    operands = [rng.standard_normal(s) for s in shapes]
    return Case("Einsum", operands, {"equation": equation}, torch=lambda *x: torch.einsum(equation, *x))


MATMUL = [
    matmul((3, 4), (4, 2)),
    matmul((4,), (4,)),
    matmul((4,), (4, 2)),
    matmul((3, 4), (4,)),
    matmul((4,), (2, 4, 3)),
    matmul((2, 2, 3, 4), (4,)),
    matmul((2, 3, 4), (2, 4, 2)),
    matmul((2, 3, 4), (4, 2)),
    matmul((3, 4), (2, 4, 2)),
    matmul((2, 1, 3, 4), (1, 3, 4, 2)),
    matmul((3, 1, 2, 4), (2, 4, 3)),
    matmul((1, 3, 4), (2, 4, 1)),
]

GEMM = [
    gemm(),
    gemm(alpha=0.5),
    gemm((3, 4), beta=0.5),
    gemm((4,)),
    gemm((1, 4), transA=1, alpha=2.0),
    gemm((3, 1), transB=1, beta=0.25),
    gemm((1,), transA=1, transB=1),
    gemm((), transA=1, transB=1, alpha=0.25, beta=0.35),
]

EINSUM = [
    einsum("ij->ji", (3, 4)),
    einsum("ij->i", (3, 4)),
    einsum("ij->", (3, 4)),
    einsum("->", ()),
    einsum("i,i", (5,), (5,)),
    einsum("i,j->ij", (3,), (2,)),
    einsum("ij,jk", (3, 4), (4, 2)),
    einsum("bij, bjk -> bik", (2, 3, 4), (2, 4, 2)),
    einsum("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 2, 4)),
    einsum("ii->i", (4, 4)),
    einsum("ii", (4, 4)),
    einsum("iji->j", (3, 2, 3)),
    einsum("...ii ->...i", (2, 3, 3)),
    einsum("ii,ij->j", (3, 3), (3, 2)),
    einsum("...ij,...jk->...ik", (2, 1, 3, 4), (1, 3, 4, 2)),
    einsum("...ij,jk", (2, 3, 4), (4, 2)),
    einsum("i...,j...->ij...", (2, 3), (4, 1)),
    einsum("ij,kj,il->kl", (2, 3), (4, 3), (2, 2)),
    einsum("ij,k->i", (2, 3), (4,)),
    einsum("Ab,bC->AC", (2, 3), (3, 2)),
]

ALL = [*MATMUL, *GEMM, *EINSUM]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_gradients_of_all_operands(case: Case) -> None:
    """The emitted gradients are the derivatives of what onnxruntime computes, with static shapes."""
    check_multilinear(case)


@pytest.mark.parametrize("case", [replace(c, dynamic=True) for c in ALL], ids=str)
def test_gradients_with_unknown_shapes(case: Case) -> None:
    """The same with every axis of every operand symbolic."""
    check_multilinear(case)


def _of_unknown_rank(op_type: str, **attributes: Any) -> Any:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("a", "b")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    node = helper.make_node(op_type, ["a", "b"], ["y"], name="it", **attributes)
    graph = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_an_ellipsis_of_unknown_rank_is_refused_by_name() -> None:
    """Where nothing tells how many axes an ellipsis has, the error names node and equation."""
    with pytest.raises(NotDifferentiable, match=r'"it" \(Einsum\).*\.\.\.i,i'):
        differentiate(_of_unknown_rank("Einsum", equation="...i,i"), ["a"])


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3)], ids=str)
def test_matmul_of_unknown_rank(shape: tuple[int, ...]) -> None:
    """Matrices and stacks of matrices of which not even the rank is declared."""
    import onnxruntime as ort

    a, b = rng.standard_normal(shape).astype(np.float32), rng.standard_normal((3, 2)).astype(np.float32)
    explained = differentiate(_of_unknown_rank("MatMul"), ["a", "b"])
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    seed = np.ones((*shape[:-1], 2), np.float32)
    ga, gb = session.run(["explain.a", "explain.b"], {"a": a, "b": b, "explain.seed": seed})
    np.testing.assert_allclose(ga, seed @ b.T, rtol=1e-5)
    np.testing.assert_allclose(gb, a.reshape(-1, 3).T @ seed.reshape(-1, 2), rtol=1e-5)
