"""The package shap on the same models: its exact, kernel, permutation, partition, linear and tree explainers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import explainsvc
from tests import models
from tests.models import Array, numbers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # shap's own, on import: numba's and matplotlib's deprecations
    shap = pytest.importorskip("shap")
pytestmark = pytest.mark.filterwarnings("ignore")  # shap's own again; what is compared is numbers

X, ROWS = numbers(3, 6), numbers(5, 6, seed=5)


def network() -> tuple[explainsvc.Model, Callable[[Array], Array]]:
    """The network of six inputs, and its second output as shap calls it."""
    model = explainsvc.load(models.mlp())
    return model, called(model, 1)


def called(model: explainsvc.Model, output: int = 0) -> Callable[[Array], Array]:
    """An output of a model as shap calls it."""
    return lambda x: model.predict({"x": np.asarray(x, np.float32)})["y"][:, output].astype(float)


def masker() -> Any:
    """All five rows: shap would take 100 of more."""
    return shap.maskers.Independent(ROWS, max_samples=len(ROWS))


def test_exact_explainer() -> None:
    """Shapley values of all 64 coalitions."""
    model, f = network()
    expected = shap.explainers.Exact(f, masker())(X)
    found = model.explain({"x": X}, "exact_shap", target=1, background=ROWS)
    np.testing.assert_allclose(found.values["x"], expected.values, atol=1e-5)
    np.testing.assert_allclose(found.baseline_value, expected.base_values, atol=1e-5)


def test_kernel_explainer() -> None:
    """All coalitions, without the selection of features that it does by default."""
    model, f = network()
    expected = shap.KernelExplainer(f, ROWS).shap_values(X, l1_reg=False, silent=True)
    found = model.explain({"x": X}, "kernel_shap", target=1, background=ROWS)
    np.testing.assert_allclose(found.values["x"], expected, atol=1e-5)


def test_permutation_explainer() -> None:
    """Both are near the Shapley values; where only pairs interact, any permutation and its reverse are exact in both."""
    model = explainsvc.load(models.quadratic())
    x, rows = numbers(2, 4), numbers(3, 4, seed=2)
    expected = shap.explainers.Permutation(called(model), shap.maskers.Independent(rows, max_samples=3))(x, max_evals=90)
    found = model.explain({"x": x}, "sampling_shap", background=rows)
    np.testing.assert_allclose(found.values["x"], expected.values, atol=1e-5)


@pytest.mark.parametrize("linkage", [[[2, 5], [6, 0], [7, 1], [8, 4], [9, 3]], [[0, 1], [2, 3], [4, 5], [6, 7], [9, 8]]], ids=str)
def test_partition_explainer(linkage: Any) -> None:
    """Owen values of a linkage matrix, to the end."""
    model, f = network()
    sizes = [1] * 6
    for a, b in linkage:
        sizes.append(sizes[a] + sizes[b])
    rows = np.array([[a, b, 1, size] for (a, b), size in zip(linkage, sizes[6:], strict=True)], float)
    tree = shap.maskers.Partition(ROWS, max_samples=len(ROWS), clustering=rows)
    expected = shap.explainers.Partition(f, tree)(X, max_evals=5000)
    found = model.explain({"x": X}, "partition_shap", target=1, background=ROWS, hierarchy=linkage, samples=5000)
    np.testing.assert_allclose(found.values["x"], expected.values, atol=1e-5)


def test_partition_explainer_on_an_image() -> None:
    """The rectangles of shap's image masker, which halves the longer side as well; odd sides differ: see the card."""
    text = """g (float[N, 8, 8, 1] x) => (float[N, 1] y) {
      f = Flatten (x)  h = MatMul (f, w)  t = Tanh (h)  y = MatMul (t, u)
    }"""
    model = explainsvc.load(models.build(text, {"w": models.weights("w", 64, 5), "u": models.weights("u", 5, 1)}))
    x = numbers(1, 8, 8, 1)
    image = shap.maskers.Image(np.zeros((8, 8, 1)), shape=(8, 8, 1))
    expected = shap.explainers.Partition(called(model), image)(x, max_evals=10000).values
    found = model.explain({"x": x}, "partition_shap", samples=10000).values["x"]
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-5)
