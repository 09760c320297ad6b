"""Support vector machines: every kernel and post_transform, and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case, build, emitted
from tests.autograd.rows import normal
from tests.autograd.test_ml import TRANSFORMS, case, difference

X, VECTORS = normal(3, 4), normal(6, 4, seed=1).astype(np.float32)
NUMBERS = [float(c) for c in normal(20, seed=2).round(2)]
KERNELS = ["LINEAR", "RBF", "POLY", "SIGMOID"]


def machine(op_type: str, kernel: str, coefficients: int, **attributes: Any) -> Case:
    """A machine with six vectors."""
    outputs = (2, 1) if op_type == "SVMClassifier" else (1, 0)
    vectors = {"support_vectors": VECTORS.reshape(-1).tolist()} if "prob_a" in attributes or coefficients % 6 == 0 else {}
    return case(
        op_type, [X], *outputs, kernel_type=kernel, kernel_params=[0.4, 0.3, 3.0], coefficients=NUMBERS[:coefficients],
        **vectors, **attributes,
    )  # fmt: skip


def classifier(kernel: str, per_class: Sequence[int], **attributes: Any) -> Case:
    """One machine a pair of classes."""
    classes = len(per_class)
    return machine(
        "SVMClassifier", kernel, 6 * (classes - 1), vectors_per_class=per_class, classlabels_ints=list(range(classes)),
        rho=NUMBERS[10 : 10 + classes * (classes - 1) // 2], **attributes,
    )  # fmt: skip


PLATT = {"prob_a": [-1.0, -0.5, -0.7], "prob_b": [0.1, 0.2, 0.3]}
ROWS = [
    *(machine("SVMRegressor", kernel, 6, n_supports=6, rho=[0.3]) for kernel in KERNELS),
    machine("SVMRegressor", "LINEAR", 4, n_supports=0, rho=[0.3]),
    *(classifier("RBF", counts, post_transform=t) for counts in ([4, 2], [2, 3, 1]) for t in TRANSFORMS),
    *(
        case(
            "SVMClassifier", [X], 2, 1, kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0], coefficients=NUMBERS[:12],
            rho=[0.3], post_transform=t, classlabels_strings=["a", "b", "c"],
        )
        for t in TRANSFORMS
    ),
]  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gradient(row: Case, dynamic: bool) -> None:
    """The gradient is the slope of the scores that onnxruntime computes."""
    _, gradients, seed = emitted(replace(row, dynamic=dynamic))
    np.testing.assert_allclose(gradients[0], difference(row, 0, seed), rtol=5e-3, atol=2e-3)


def coupled(x: Any, counts: Sequence[int]) -> Any:
    """The probabilities of the classes by Wu, Lin and Weng 2004, equation 21, one row at a time."""
    classes = len(counts)
    owner = np.repeat(np.arange(classes), counts)
    coefficients = np.array(NUMBERS[: 6 * (classes - 1)]).reshape(-1, 6)
    result = []
    for kernels in (0.4 * x @ VECTORS.T.astype(np.float64) + 0.3) ** 3:
        r = np.zeros((classes, classes))
        for k, (i, j) in enumerate(combinations(range(classes), 2)):
            score = (coefficients[j - 1] * kernels)[owner == i].sum() + (coefficients[i] * kernels)[owner == j].sum()
            r[i, j] = 1 / (1 + np.exp(PLATT["prob_a"][k] * (score + NUMBERS[10 + k]) + PLATT["prob_b"][k]))
            r[j, i] = 1 - r[i, j]
        q = np.diag((r**2).sum(axis=0)) - r * r.T
        ones = np.ones((1, classes))
        bordered = np.block([[q, ones.T], [ones, np.zeros((1, 1))]])
        result.append(np.linalg.solve(bordered, [0] * classes + [1])[:classes])
    return np.array(result)


@pytest.mark.parametrize("counts", [[4, 2], [2, 3, 1]], ids=["two classes", "three classes"])
def test_coupled_probabilities(counts: list[int]) -> None:
    """The derivative of the equation that onnxruntime solves, by iteration, to half a percent: too coarse for differences."""
    pairs = len(counts) * (len(counts) - 1) // 2
    row = classifier("POLY", counts, **{name: numbers[:pairs] for name, numbers in PLATT.items()})
    feeds, gradients, seed = emitted(row)
    x = feeds["x0"].astype(np.float64)
    slopes = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-6
        slopes[index] = ((coupled(x + step, counts) - coupled(x - step, counts)) * seed).sum() / 2e-6
    np.testing.assert_allclose(gradients[0], slopes, rtol=1e-3, atol=1e-5)


def test_probit_is_refused() -> None:
    """A post_transform without a rule is refused by name."""
    with pytest.raises(NotDifferentiable, match="PROBIT"):
        differentiate(build(classifier("RBF", [4, 2], post_transform="PROBIT"), np.float32), ["x0"], output="y1")
