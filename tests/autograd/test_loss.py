"""Losses with their reductions, class weights and ignored labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import explainsvc
from tests.autograd.harness import Case, check
from tests.autograd.rows import both, normal, positive
from tests.models import build

LABELS = np.random.default_rng(3).integers(0, 4, (3, 2))
SHAPES: list[tuple[Any, Any]] = [
    (normal(3, 4), LABELS[:, 0]),
    (normal(3, 4, 2), LABELS),
    (normal(2, 4, 1, 3), LABELS.T[:, None]),
]


def likelihood(x: Any, labels: Any, weights: Any, reduction: str, ignored: int | None) -> Any:
    """ONNX' definition (torch has no gradient for the class weights)."""
    counts = torch.ones_like(labels, dtype=x.dtype) if ignored is None else (labels != ignored).to(x.dtype)
    known = labels * counts.long()
    w = counts if weights is None else counts * weights[known]
    losses = -w * x.gather(1, known[:, None]).squeeze(1)
    return losses if reduction == "none" else losses.sum() / (w.sum() if reduction == "mean" else 1)


def entropy(x: Any, *rest: Any) -> Any:
    """The likelihood of the softmax."""
    return likelihood(F.log_softmax(x, 1), *rest)


def variants(op_type: str, function: Any) -> list[Case]:
    """One loss in all its ways."""
    return [
        Case(
            op_type,
            [x, np.where(labels == 2, -1, labels) if ignored == -1 else labels, *weights],
            {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored}),
            torch=lambda x, t, w=None, r=reduction, i=ignored: function(x, t, w, r, i),
            finite_differences=False,
        )
        for reduction in ("none", "sum", "mean")
        for x, labels in SHAPES
        for ignored in (None, 1, -1)
        for weights in ([], [positive(4)])
    ]


ROWS = [*variants("NegativeLogLikelihoodLoss", likelihood), *variants("SoftmaxCrossEntropyLoss", entropy)]
LOG = both(
    Case(
        "SoftmaxCrossEntropyLoss",
        [normal(3, 4, 2), LABELS],
        outputs=2,
        output=1,
        wanted=[0],
        torch=lambda x, _: F.log_softmax(x, 1),
    )
)


@pytest.mark.parametrize("case", [*both(*ROWS), *LOG], ids=str)
def test_gradient(case: Case) -> None:
    """The gradient of scores and class weights equals torch autograd."""
    check(case)


@pytest.mark.parametrize("op_type", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_in_double(op_type: str) -> None:
    """A loss in double has a gradient in double, though onnxruntime has no OneHot for it."""
    graph = f'g (double[3, 4] x) => (double y) {{ y = {op_type} <reduction = "sum"> (x, t, w) }}'
    x, labels, w = normal(3, 4), LABELS[:, 0], positive(4)
    model = explainsvc.load(build(graph, {"t": labels, "w": w}, opset=19))
    found = model.explain({"x": x}, target={"output": "y", "seed": np.array(1.0)}).values["x"]
    tensor = torch.tensor(x, requires_grad=True)
    function = likelihood if op_type.startswith("Negative") else entropy
    function(tensor, torch.tensor(labels), torch.tensor(w), "sum", None).backward()
    np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)
