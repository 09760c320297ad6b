"""Operators that pick, place and surround elements by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check, emitted
from tests.autograd.test_shape import both, ints, normal

X = normal(5, 6, 4)


def sliced(x: Any, numbers: Sequence[Sequence[int] | None], taken: Any, *constant: int) -> list[Case]:
    """A Slice given by (starts, ends, axes, steps), equal to ``x[taken]``."""
    operands = [x, *(None if v is None else ints(*v) for v in numbers)]
    forwards = all(s is None or s.step is None or s.step > 0 for s in taken)
    torch = (lambda x, *_: x[taken]) if forwards else None
    return both(Case("Slice", operands, constant=constant, torch=torch))


SLICE = [
    *sliced(X, [[1, 0], [3, 4]], np.s_[1:3, 0:4], 1, 2),
    *sliced(X, [[1, -3], [9, -1], [0, -1]], np.s_[1:, :, -3:-1], 1, 2, 3),
    *sliced(X, [[1, -3], [9, -1], [0, -1]], np.s_[1:, :, -3:-1], 3),
    *sliced(X, [[1, -3], [9, -1], [0, -1]], np.s_[1:, :, -3:-1]),
    *sliced(X, [[1], [6], [1], [2]], np.s_[:, 1:6:2], 1, 2, 3, 4),
    *sliced(X, [[0, -5], [99, 99], [1, 0], [3, 2]], np.s_[::2, ::3], 1, 2, 3, 4),
    *sliced(X, [[0], [6], [-2], [4]], np.s_[:, ::4], 1, 2, 3, 4),
    *sliced(X, [[-1], [-99], [1], [-1]], np.s_[:, ::-1], 1, 2, 3, 4),
    *sliced(X, [[99, 3], [0, -99], [1, 2], [-2, -1]], np.s_[:, :0:-2, ::-1], 1, 2, 3, 4),
    *sliced(X, [[4], [0], [1], [-3]], np.s_[:, 4:0:-3], 3, 4),
    *sliced(X, [[4], [0], [1], [-3]], np.s_[:, 4:0:-3]),
    *sliced(X, [[1, 2, 0], [4, 6, 4], None, [2, 1, 3]], np.s_[1:4:2, 2:, ::3], 1, 2, 4),
]

GATHER = [
    Case("Gather", [X, np.array(2)], constant=[1], torch=lambda x, _: x[2]),
    Case("Gather", [X, np.array(-1)], {"axis": -1}, torch=lambda x, _: x[..., -1]),
    Case("Gather", [X, np.array(-2, np.int32)], {"axis": 1}, torch=lambda x, _: x[:, -2]),
    Case("Gather", [X, ints(0, 2, 0, -1, 2)], {"axis": 1}, torch=lambda x, i: x[:, i]),
    Case("Gather", [X, ints(3, 0, -2, 1)], {"axis": 2}, constant=[1], torch=lambda x, i: x[..., i]),
    Case("Gather", [X, ints(1, 1)], constant=[1], torch=lambda x, i: x[i]),
    Case("Gather", [X, np.array([[0, 1, -1], [2, 0, 0]])], {"axis": 1}, torch=lambda x, i: x[:, i]),
    Case("Gather", [X, np.array([[3, 1], [2, 0]])], {"axis": -1}, constant=[1], torch=lambda x, i: x[..., i]),
    Case("Gather", [normal(4), np.array([[[1], [-1]]])], torch=lambda x, i: x[i]),
    Case("GatherElements", [normal(3, 4), np.array([[0, 1, 2, -1], [0, 0, 0, 0]])]),
    Case("GatherElements", [normal(3, 4), np.array([[0, -1], [1, 1], [2, 2]])], {"axis": -1}),
    Case("GatherND", [X, np.array([[0, 1], [-1, 2], [0, 1]])], torch=lambda x, i: x[i[:, 0], i[:, 1]]),
    Case("GatherND", [X, np.array([[[0, 1, 2]], [[4, 5, -1]]])], torch=lambda x, i: x[i[..., 0], i[..., 1], i[..., 2]]),
    Case("GatherND", [normal(2, 3, 4), np.array([[1], [-1]])], {"batch_dims": 1}),
    Case("GatherND", [normal(2, 3, 4), np.array([[[0], [1], [1]], [[2], [3], [3]]])], {"batch_dims": 2}),
    Case("Compress", [normal(3, 4), np.array([True, False, True])], {"axis": 0}, torch=lambda x, c: x[c]),
    Case("Compress", [normal(3, 4), np.array([False, True, True])], {"axis": -1}, torch=lambda x, _: x[:, 1:3]),
    Case("Compress", [normal(3, 4), np.array([False, True, True, False, True])]),
    Case("TopK", [normal(3, 7), ints(3)], outputs=2, torch=lambda x, _: x.topk(3).values),
    Case("TopK", [normal(3, 7), ints(2)], {"axis": 0, "largest": 0}, outputs=2, constant=[1]),
]

UNIQUE = [
    Case("Unique", [normal(3, 2)]),
    Case("Unique", [normal(6)], {"sorted": 0}, outputs=4),
    Case("Unique", [normal(3, 2)], {"axis": 0}),
    Case("Unique", [normal(3, 2)], {"axis": -1, "sorted": 0}, outputs=2),
]

PLACES = np.array([[1, 0], [3, 2]])
SCATTER = [
    Case(op, [normal(4, 3) + 3, indices, updates], {"reduction": r} | more)
    for r in ("none", "add", "mul", "max", "min")
    for op, indices, updates, more in [
        ("ScatterElements", PLACES, normal(2, 2) + 3, {}),
        ("ScatterElements", PLACES - 3, normal(2, 2) + 3, {"axis": -1}),
        ("ScatterND", PLACES, normal(2) + 3, {}),
        ("ScatterND", np.array([[2], [-4]]), normal(2, 3) + 3, {}),
    ]
] + [
    Case("ScatterElements", [normal(3), ints(1, 1, 0), normal(3)], {"reduction": "add"}),
    Case("ScatterElements", [normal(3) + 3, ints(1, 1, 0), np.array([2.0, 3, 4])], {"reduction": "mul"}),
    Case("ScatterElements", [normal(3), ints(1, 1, 0), np.array([2.0, 3, 4])], {"reduction": "max"}),
]

PAD = [
    Case("Pad", [X, ints(1, 0, 2, 0, 3, 1)], constant=[1]),
    Case("Pad", [X, ints(1, -2, 0, -1, 3, -1)], constant=[1]),
    Case("Pad", [X, ints(2, -1, 1, -2), None, ints(-1, 0)]),
    Case("Pad", [X, ints(0, 2, 1, 1), np.array(0.3), ints(0, 2)], constant=[1, 3]),
    Case("Pad", [normal(3), ints(2, 1), np.array([0.3])]),
    *(Case("Pad", [X, ints(2, 1, 3, 4, 2, 1)], {"mode": m}, constant=[1]) for m in ("reflect", "edge", "wrap")),
    *(Case("Pad", [X, ints(2, 1, 1, 3), None, ints(0, -1)], {"mode": m}) for m in ("reflect", "edge", "wrap")),
    *(Case("Pad", [X, ints(0, -1, 0, 2, 0, -1)], {"mode": m}) for m in ("reflect", "edge")),
    Case("CenterCropPad", [X, ints(3, 9, 7)]),
    Case("CenterCropPad", [X, ints(7, 2)], {"axes": [-2, 0]}, constant=[1]),
]

BLOCK = ints(2, 3)
COL2IM = [
    Case("Col2Im", [normal(2, 12, 12), ints(4, 6), BLOCK], constant=[1, 2], torch=lambda x, *_: _fold(x, (4, 6))),
    Case(
        "Col2Im",
        [normal(1, 6, 9), ints(5, 6), BLOCK],
        {"strides": [2, 1], "pads": [1, 0, 1, 1], "dilations": [2, 2]},
        constant=[1, 2],
    ),
    Case("Col2Im", [normal(1, 12, 12), ints(4, 6), BLOCK]),
]

NUMBERS = [
    Case("OneHot", [ints(0, 2, -1, 7), np.array(3), normal(2)]),
    Case("OneHot", [np.array([[0, 2], [1, 1]]), np.array(3), normal(2)], {"axis": 0}),
    Case("Range", [np.array(1.5), np.array(4.2), np.array(0.5)], wanted=[0, 2]),
]


def _fold(x: Any, size: tuple[int, int]) -> Any:
    import torch

    return torch.nn.functional.fold(x, size, (2, 3))


@pytest.mark.parametrize("case", SLICE + NUMBERS, ids=str)
def test_gradient(case: Case) -> None:
    """What was taken from a place flows back there."""
    check(case)


@pytest.mark.parametrize("case", [c for case in GATHER + UNIQUE + SCATTER + PAD + COL2IM for c in both(case)], ids=str)
def test_gradient_static_and_dynamic(case: Case) -> None:
    """Repeated places add up, overwritten ones get nothing, borders belong to what they were copied from."""
    check(case)


def test_repeated_values_belong_to_the_first() -> None:
    """Of equal elements, Unique gives the one that stands first."""
    _, gradients, seed = emitted(Case("Unique", [np.array([3.0, 1.0, 2.0, 1.0, 3.0])]))
    np.testing.assert_array_equal(gradients[0], [seed[2], seed[0], seed[1], 0, 0])


@pytest.mark.parametrize("reduction", ["max", "min"])
@pytest.mark.parametrize("op_type", ["ScatterElements", "ScatterND"])
def test_equal_extrema_share(op_type: str, reduction: str) -> None:
    """Where data and updates are the extremum together, each gets an equal part of the gradient."""
    indices = ints(0, 0, 1) if op_type == "ScatterElements" else ints(0, 0, 1).reshape(3, 1)
    case = Case(op_type, [np.array([2.0, 3.0, 4.0]), indices, np.array([2.0, 2.0, 3.0])], {"reduction": reduction})
    _, gradients, g = emitted(case)
    np.testing.assert_allclose(gradients[0], [g[0] / 3, g[1] / 2, g[2]], rtol=1e-6)
    np.testing.assert_allclose(gradients[2], [g[0] / 3, g[0] / 3, g[1] / 2], rtol=1e-6)
