"""GridSample: image and grid, all modes and paddings, in two and three dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check
from tests.autograd.test_shape import both

RANDOM = np.random.default_rng(5)
IMAGE, GRID = RANDOM.standard_normal((2, 3, 4, 5)), RANDOM.uniform(-1.4, 1.4, (2, 3, 2, 2))
VOLUME, PLACES = RANDOM.standard_normal((1, 2, 3, 4, 2)), RANDOM.uniform(-1.3, 1.3, (1, 2, 2, 3, 3))


def sampled(x: Any, grid: Any, mode: str, padding: str, align: int) -> Case:
    """A GridSample and the same in torch."""

    def run(x: Any, grid: Any) -> Any:
        import torch

        name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
        return torch.nn.functional.grid_sample(x, grid, name, padding, bool(align))

    attributes = {"mode": mode, "padding_mode": padding, "align_corners": align}
    wanted = [0] if mode == "nearest" else [0, 1]
    return Case("GridSample", [x, grid], attributes, wanted=wanted, torch=run, finite_differences=False)


ROWS = [
    case
    for mode in ("linear", "nearest", "cubic")
    for padding in ("zeros", "border", "reflection")
    for align in (0, 1)
    for case in both(sampled(IMAGE, GRID, mode, padding, align))
]


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_gradient(case: Case) -> None:
    """As torch has it: to the taps by their weights, to the grid by the slopes of the weights."""
    check(case)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_gradient_of_volumes(mode: str, padding: str) -> None:
    """Eight taps around every place."""
    check(sampled(VOLUME, PLACES, mode, padding, 0))
