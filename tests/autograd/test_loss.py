"""Losses with their reductions, class weights and ignored labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, normal, positive

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
