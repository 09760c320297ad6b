"""Reductions and cumulative operators: axes given, absent, computed; kept or not; corners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.autograd.harness import Case, check, emitted
from tests.autograd.rows import both, ints, normal, positive, without_ranks


def product(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """torch.prod takes one axis at a time."""
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS: dict[str, Callable[[Any, tuple[int, ...], bool], Any]] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceProd": product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(axes, keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keep),
}
AXES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((4,), (0,)),
    ((2, 3), (1,)),
    ((2, 3, 4), (0, -1)),
    ((2, 1, 3, 2), (-3, 2)),
]


def rows(op_type: str) -> list[Case]:
    """One operator over all its ways to say which axes."""
    function, made = REDUCTIONS[op_type], positive if op_type == "ReduceLogSum" else normal
    cases = []
    for keep in (0, 1):
        for shape, axes in AXES:
            same: dict[str, Any] = {"torch": lambda x, *_, a=axes, k=keep: function(x, a, bool(k))}
            cases += both(Case(op_type, [made(*shape), ints(*axes)], {"keepdims": keep}, constant=[1], **same))
            cases += both(Case(op_type, [made(*shape), ints(*axes)], {"keepdims": keep}, **same))
        everything: dict[str, Any] = {"torch": lambda x, *_, k=keep: function(x, tuple(range(x.ndim)), bool(k))}
        cases += both(Case(op_type, [made(2, 3)], {"keepdims": keep}, **everything))
        cases += both(Case(op_type, [made(2, 3), ints()], {"keepdims": keep}, constant=[1], **everything))
        cases += both(Case(op_type, [made(2, 3), ints()], {"keepdims": keep, "noop_with_empty_axes": 1}, constant=[1]))
        cases += both(Case(op_type, [made(2, 3), ints()], {"keepdims": keep, "noop_with_empty_axes": 1}))
        cases += both(Case(op_type, [made(2, 3)], {"keepdims": keep, "noop_with_empty_axes": 1}))
        cases += [Case(op_type, [made()], {"keepdims": keep})]
    return cases


ROWS = [case for op_type in REDUCTIONS for case in rows(op_type)]

CUMULATIVE = [
    variant
    for op_type, opset in (("CumSum", 21), ("CumProd", 26))
    for exclusive in (0, 1)
    for reverse in (0, 1)
    for shape, axis in (((4,), 0), ((2, 3), -1), ((3, 1, 2), 0))
    for variant in both(
        Case(
            op_type,
            [normal(*shape), np.array(axis)],
            {"exclusive": exclusive, "reverse": reverse},
            opset=opset,
            finite_differences=op_type == "CumSum",  # the reference evaluator has no CumProd, nor onnxruntime for double
            torch=lambda x, a, o=op_type, e=exclusive, r=reverse: cumulative(o, x, int(a), e, r),
        )
    )
]


def cumulative(op_type: str, x: Any, axis: int, exclusive: int, reverse: int) -> Any:
    """ONNX' CumSum and CumProd in torch."""
    x = x.flip(axis) if reverse else x
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), 0.0 if op_type == "CumSum" else 1.0)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    y = x.cumsum(axis) if op_type == "CumSum" else x.cumprod(axis)
    return y.flip(axis) if reverse else y


ZEROS = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.0, 4.0], [2.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 5.0]])
CORNERS = [
    Case("ReduceMax", [np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]), ints(1)], torch=lambda x, _: x.amax(1, True)),
    Case("ReduceMin", [np.array([[1.0, 1.0, 2.0], [3.0, 3.0, 3.0]]), ints(1)], torch=lambda x, _: x.amin(1, True)),
    Case("ReduceL2", [np.array([[0.0, 0.0], [3.0, 4.0]]), ints(1)], torch=lambda x, _: x.norm(dim=1, keepdim=True)),
    Case("ReduceL1", [np.array([[0.0, -1.0], [3.0, 0.0]]), ints(1)], torch=lambda x, _: x.abs().sum(1, True)),
    Case("ReduceProd", [ZEROS, ints(1)], torch=lambda x, _: x.prod(1, keepdim=True)),
    *(
        Case("CumProd", [ZEROS, np.array(1)], {"exclusive": exclusive, "reverse": reverse}, opset=26,
             torch=lambda x, a, e=exclusive, r=reverse: cumulative("CumProd", x, int(a), e, r))
        for exclusive in (0, 1)
        for reverse in (0, 1)
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [*ROWS, *CUMULATIVE], ids=str)
def test_gradient(case: Case) -> None:
    """The gradient equals torch autograd and central finite differences."""
    check(case)


@pytest.mark.parametrize("case", CORNERS, ids=str)
def test_corner(case: Case) -> None:
    """Ties, zero norms and zero factors have torch's derivative: shared evenly, zero, the product of the others."""
    feeds, gradients, seed = emitted(case)
    tensors = {name: torch.tensor(x, requires_grad=name == "x0") for name, x in feeds.items()}
    assert case.torch is not None
    case.torch(*tensors.values()).backward(torch.tensor(seed))
    np.testing.assert_allclose(gradients[0], tensors["x0"].grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in ROWS if not c.dynamic], ids=str)
def test_unknown_rank(case: Case) -> None:
    """Reduced axes need no rank."""
    without_ranks(case)
