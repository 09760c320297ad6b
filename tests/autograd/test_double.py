"""Every case row once more in double, where onnxruntime has the kernels: what is emitted has to have them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from explainsvc.autograd.differentiate import differentiate
from tests.autograd import harness
from tests.autograd.collected import case_rows
from tests.autograd.harness import Case

ROWS = case_rows()
MOST_ROWS = 6
"""Of one operator: another precision needs no second look at every attribute."""


def session(proto: Any) -> ort.InferenceSession:
    """On the CPU."""
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def runs(case: Case) -> Any:
    """The result in double; None where onnxruntime has no double kernel, or does not take the row's operands in double."""
    try:
        return session(harness.build(case, np.float64)).run(None, harness.feeds_of(case, np.float64))[0]
    except Exception:  # noqa: BLE001  (NotImplemented, Fail, InvalidArgument: no base below Exception)
        return None


def gradients(case: Case, dtype: type, seed: Any) -> Mapping[int, Any]:
    """Of the wanted operands, in one precision."""
    names = {i: f"x{i}" for i in harness.wanted(case)}
    explained = session(differentiate(harness.build(case, dtype), list(names.values()), f"y{case.output}"))
    feeds = harness.feeds_of(case, dtype) | {"explain.seed": seed.astype(dtype)}
    return dict(zip(names, explained.run([f"explain.{name}" for name in names.values()], feeds), strict=True))


def spread(rows: Sequence[Case]) -> Sequence[Case]:
    """At most so many, evenly over the list."""
    return rows[:: -(-len(rows) // MOST_ROWS)]


@pytest.mark.parametrize("operator", ROWS)
def test_gradients_in_double(operator: str) -> None:
    """A model in double has its gradient in double, and it is the float32 one to float32's rounding."""
    for case in spread(ROWS[operator]):
        y = runs(case)
        if y is None:
            continue
        seed = np.random.default_rng(7).standard_normal(y.shape)
        single = gradients(case, np.float32, seed)
        for i, found in gradients(case, np.float64, seed).items():
            assert found.dtype == np.float64, str(case)
            scale = max(float(np.abs(found).max(initial=0)), 1e-3)
            np.testing.assert_allclose(found, single[i], rtol=0, atol=2e-3 * scale, err_msg=str(case))
