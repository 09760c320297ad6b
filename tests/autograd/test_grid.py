"""AffineGrid in two and three dimensions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, ints, normal, without_ranks


def affine(theta: Any, size: tuple[int, ...], align: int) -> Case:
    """An AffineGrid and the same in torch."""

    def run(theta: Any, _: Any) -> Any:
        import torch

        return torch.nn.functional.affine_grid(theta, list(size), bool(align))

    alone = align == 1 and 1 in size[2:]  # torch warns that it puts a single cell elsewhere than ONNX does
    return Case("AffineGrid", [theta, ints(*size)], {"align_corners": align}, torch=None if alone else run)


CASES = [
    affine(theta, size, align)
    for theta, size in [(normal(2, 2, 3), (2, 3, 4, 5)), (normal(2, 3, 4), (2, 3, 4, 5, 2)), (normal(1, 2, 3), (1, 1, 1, 3))]
    for align in (0, 1)
]


@pytest.mark.parametrize("case", [c for case in CASES for c in both(case)], ids=str)
def test_gradient(case: Case) -> None:
    """As torch has it."""
    check(case)


def test_gradient_without_ranks() -> None:
    """Two or three dimensions are told apart at run time."""
    for case in CASES[:3]:
        without_ranks(case)
