"""What the case rows of several families share: numbers, and the variants of one row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort

from explainsvc.autograd.differentiate import differentiate
from tests.autograd.harness import Case, build, emitted, wanted


def normal(*shape: int, seed: int = 0) -> Any:
    """Reproducible numbers without ties."""
    return np.random.default_rng([seed, len(shape), *shape]).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> Any:
    """Numbers between 0.2 and 2."""
    return np.random.default_rng([seed, len(shape), *shape]).uniform(0.2, 2, shape)


def inside(*shape: int, seed: int = 0) -> Any:
    """Numbers between −0.9 and 0.9."""
    return np.random.default_rng([seed, len(shape), *shape]).uniform(-0.9, 0.9, shape)


def ints(*values: int) -> Any:
    """An int64 vector."""
    return np.array(values, np.int64)


def both(*cases: Case) -> list[Case]:
    """Every case with static and with symbolic shapes."""
    return [variant for case in cases for variant in (case, replace(case, dynamic=True))]


def without_ranks(case: Case) -> None:
    """Where not even ranks are known, the gradient is the same as with static shapes."""
    feeds, expected, seed = emitted(case)
    proto = build(case, np.float32)
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.ClearField("shape")
    names = [f"x{i}" for i in wanted(case)]
    explained = differentiate(proto, names)
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run([f"explain.{n}" for n in names], feeds | {"explain.seed": seed})
    for gradient, i in zip(found, wanted(case), strict=True):
        np.testing.assert_allclose(gradient, expected[i], rtol=1e-4, atol=1e-6, err_msg=f"{case}: operand {i}")
