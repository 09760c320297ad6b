"""Exact differences for operators that are linear in each operand, computed by onnxruntime itself in float32.

``f(x + e) − f(x)`` is the derivative along ``e`` with no step size to choose, so that attributes which torch and
onnx's reference evaluator lack or read differently (auto_pad, ceil_mode, output_shape) are compared with what
onnxruntime does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from tests.autograd.harness import Case, build, emitted, torch_gradients, wanted


def check_multilinear(case: Case) -> None:
    """Gradient of every wanted operand = exact differences in onnxruntime, and = torch autograd where given."""
    feeds, gradients, seed = emitted(case)
    session = ort.InferenceSession(build(case, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    for i in wanted(case):
        expected = _differences(session, feeds, f"x{i}", seed)
        np.testing.assert_allclose(gradients[i], expected, rtol=1e-3, atol=1e-3, err_msg=f"{case}: operand {i}")
    if case.torch is not None:
        for i, expected in torch_gradients(case, seed).items():
            np.testing.assert_allclose(gradients[i], expected, rtol=2e-4, atol=2e-5, err_msg=f"{case}: {i}, torch")


def _differences(session: ort.InferenceSession, feeds: dict[str, Any], name: str, seed: Any) -> Any:
    x = feeds[name]
    base = session.run(None, feeds)[0].astype(np.float64)
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += 1
        result[index] = ((session.run(None, feeds | {name: moved})[0] - base) * seed).sum()
    return result
