"""TensorScatter: linear and circular, every axis."""

from __future__ import annotations

import pytest

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, ints, normal

PAST, UPDATE = normal(2, 3, 6, 2), normal(2, 3, 2, 2)
CASES = [
    Case("TensorScatter", [PAST, UPDATE], opset=24),
    Case("TensorScatter", [PAST, UPDATE, ints(1, 4)], {"axis": 2}, opset=24),
    Case("TensorScatter", [PAST, UPDATE, ints(5, 2)], {"mode": "circular"}, opset=24),
    Case("TensorScatter", [PAST, normal(2, 2, 6, 2), ints(1, 0)], {"axis": 1}, opset=24),
]


@pytest.mark.parametrize("case", [c for case in CASES for c in both(case)], ids=str)
def test_gradient(case: Case) -> None:
    """What was overwritten gets nothing; what was written gets what arrives at its place."""
    check(case)
