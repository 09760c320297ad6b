"""Det: one matrix and many, invertible and singular."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, normal, without_ranks


def det(x: Any) -> Any:
    """torch's."""
    import torch

    return torch.linalg.det(x)


REGULAR = [Case("Det", [normal(*shape)], torch=det) for shape in [(1, 1), (2, 2), (5, 5), (3, 2, 2), (2, 3, 4, 4)]]
RANK_TWO = np.outer([1, 2, 3.0], [1, 0, 2.0]) + np.outer([1, 1, 0.0], [0, 1, 2.0])
SINGULAR = [Case("Det", [x], name=name) for x, name in [(np.ones((3, 3)), "rank 1"), (RANK_TWO, "rank 2")]]


@pytest.mark.parametrize("case", [c for case in REGULAR + SINGULAR for c in both(case)], ids=str)
def test_gradient(case: Case) -> None:
    """Cofactors: as torch where a matrix has an inverse, and right where it has none."""
    check(case)


def test_gradient_without_ranks() -> None:
    """The number of batch axes need not be known."""
    for case in REGULAR[2:]:
        without_ranks(case)
