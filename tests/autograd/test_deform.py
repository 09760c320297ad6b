"""DeformConv: all five operands, groups, offset groups, strides, dilations, pads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, normal


def deform(group: int, offset_group: int, strides: Sequence[int], pads: Sequence[int], bias: bool, mask: bool) -> Case:
    """A DeformConv of 4 channels of 5×6 by a 2×3 kernel, its rows 2 apart."""
    begin, end = np.array(pads[:2]), np.array(pads[2:])
    out = tuple((np.array([5, 6]) + begin + end - [3, 3]) // np.array(strides) + 1)
    operands = [
        normal(2, 4, 5, 6),
        normal(4, 4 // group, 2, 3),
        normal(2, offset_group * 12, *out),
        normal(4) if bias else None,
        normal(2, offset_group * 6, *out, seed=3) if mask else None,
    ]
    attributes = {"group": group, "offset_group": offset_group, "strides": strides, "dilations": [2, 1], "pads": pads}

    def run(x: Any, w: Any, offset: Any, b: Any, mask: Any) -> Any:
        from torchvision.ops import deform_conv2d

        return deform_conv2d(x, offset, w, b, tuple(strides), tuple(pads[:2]), (2, 1), mask)

    return Case("DeformConv", operands, attributes, torch=run if pads[:2] == pads[2:] else None)


CASES = [
    deform(1, 1, [1, 1], [0, 0, 0, 0], bias=False, mask=False),
    deform(2, 1, [1, 2], [1, 1, 1, 1], bias=True, mask=True),
    deform(1, 2, [2, 1], [1, 0, 1, 2], bias=False, mask=True),
    deform(2, 4, [1, 1], [2, 1, 2, 1], bias=True, mask=False),
]


@pytest.mark.parametrize("case", [c for case in CASES for c in both(case)], ids=str)
def test_gradient(case: Case) -> None:
    """Of images, weights, offsets, bias and mask: as torchvision, and the slope of what onnxruntime computes."""
    check(case)
