"""max_shap: on graphs that are maxima, the values of all coalitions; a refusal of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.models import Array, numbers

MAXIMA: dict[str, tuple[str, dict[str, Array], tuple[int, ...], Any]] = {
    "reduce": ("g (float[N, 6] x) => (float[N, 1] y) { y = ReduceMax <axes = [1]> (x) }", {}, (6,), 0),
    "pools that overlap": (
        "g (float[N, 1, 3, 4] x) => (float[N, 6] y) { p = MaxPool <kernel_shape = [2, 2]> (x)  y = Flatten (p) }", {}, (1, 3, 4),
        {"output": "y", "seed": [[1, 2, 0, -1, 0, 0.5], [0, 0, 1, 0, 3, 0]]},
    ),
    "max of parts": (
        """g (float[N, 6] x) => (float[N, 3] y) {
            t = Transpose <perm = [1, 0]> (x)  a = Gather (t, left)  b = Gather (t, right)  m = Max (a, b)  y = Transpose (m)
        }""", {"left": np.array([0, 1, 2]), "right": np.array([3, 4, 2])}, (6,), [0, 2],
    ),
    "global": (
        "g (float[N, 2, 2, 2] x) => (float[N, 2] y) { p = GlobalMaxPool (x)  y = Flatten (p) }", {}, (2, 2, 2), [0, 1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MAXIMA)
@pytest.mark.parametrize("ties", [False, True])
def test_maxima(case: str, ties: bool) -> None:
    """Two items against three rows; whole numbers make ties within and between them."""
    text, weights, shape, target = MAXIMA[case]
    model = explainsvc.load(models.build(text, weights))
    x, rows = (numbers(n, *shape, seed=n) for n in (2, 3))
    if ties:
        x, rows = np.round(x), np.round(rows)
    found = model.explain({"x": x}, "max_shap", target=target, background=rows)
    expected = model.explain({"x": x}, "exact_shap", target=target, background=rows, feature_mask="element")
    np.testing.assert_allclose(found.values["x"], expected.values["x"], atol=1e-6)
    assert np.abs(found.residual).max() < 1e-6
    assert np.abs(found.values["x"]).max() > 0.05


def test_groups_of_elements() -> None:
    """A feature counts by its largest element."""
    text, _, shape, _ = MAXIMA["reduce"]
    model, x, rows = explainsvc.load(models.build(text)), numbers(2, *shape), numbers(3, *shape, seed=1)
    options: dict[str, Any] = {"target": 0, "background": rows, "feature_mask": [0, 1, 0, 2, 1, 0]}
    found, expected = (model.explain({"x": x}, method, **options).values["x"] for method in ("max_shap", "exact_shap"))
    np.testing.assert_allclose(found, expected, atol=1e-6)


CLAMPED = models.build("g (float[N, 3] x) => (float[N, 3] y) { y = Max (x, c) }", {"c": np.zeros(3, np.float32)})


@pytest.mark.parametrize(("proto", "feeds", "node"), [
    (models.mlp(), {"x": numbers(1, 6)}, "Gemm"), (CLAMPED, {"x": numbers(1, 3)}, "Max"),
])  # fmt: skip
def test_other_graphs_are_refused(proto: Any, feeds: dict[str, Array], node: str) -> None:
    """By the first node that is no maximum of input elements, a maximum with a constant among them."""
    with pytest.raises(MethodNotApplicable, match=node):
        explainsvc.load(proto).explain(feeds, "max_shap", target=0)
