"""The package shap on the same models: its exact, kernel, permutation, partition, linear and tree explainers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import explainsvc
from tests import forests, models
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


def test_linear_explainer() -> None:
    """w (x − E x), from the coefficients that shap is given."""
    x, rows = numbers(3, 4), numbers(5, 4, seed=2)
    given = shap.maskers.Independent(rows, max_samples=len(rows))
    expected = shap.LinearExplainer((models.weights("w", 4, 3)[:, 1], models.weights("b", 3)[1]), given).shap_values(x)
    found = explainsvc.load(models.linear()).explain({"x": x}, "linear_shap", target=1, background=rows)
    np.testing.assert_allclose(found.values["x"], expected, atol=1e-5)


def table_of(estimators: Any, scale: float, base: float) -> dict[str, Any]:
    """The node tables of scikit-learn's trees. Its float32 inputs meet float64 thresholds: rounded down, they decide alike."""
    made = []
    for estimator in estimators:
        t, one = estimator.tree_, forests.Tree()
        near = t.threshold.astype(np.float32)
        down = np.where(near > t.threshold, np.nextafter(near, np.float32(-np.inf)), near)
        for k in range(t.node_count):
            leaf = t.children_left[k] < 0
            below = (int(t.children_left[k]), int(t.children_right[k]))
            one.nodes.append(None if leaf else (int(t.feature[k]), "BRANCH_LEQ", float(down[k]), *below, 0))
            if leaf:
                one.leaves[k] = {0: scale * float(t.value[k].ravel()[0])}
        made.append(one)
    return forests.old_attributes(made, "target") | {"n_targets": 1, "base_values": [base]}


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_tree_explainer(kind: str) -> None:
    """Interventional, on scikit-learn's regressors of 8 features with 100 rows of background data."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    train, rows, x = (rng.standard_normal((n, 8)).astype(np.float32) for n in (400, 100, 5))
    y = train[:, 0] * train[:, 1] + np.sin(2 * train[:, 2]) + (train[:, 3] > train[:, 4])
    if kind == "forest":
        fitted = ensemble.RandomForestRegressor(30, max_depth=7, random_state=0).fit(train, y)
        table = table_of(fitted.estimators_, 1 / 30, 0.0)
    else:
        fitted = ensemble.GradientBoostingRegressor(n_estimators=40, max_depth=4, random_state=0).fit(train, y)
        table = table_of(fitted.estimators_[:, 0], fitted.learning_rate, float(fitted.init_.constant_[0, 0]))
    model = explainsvc.load(forests.model("TreeEnsembleRegressor", table, 8))
    np.testing.assert_allclose(model.predict({"x": rows})["y"][:, 0], fitted.predict(rows), atol=1e-5)
    explainer = shap.TreeExplainer(fitted, data=rows, feature_perturbation="interventional")
    found = model.explain({"x": x}, "tree_shap", background=rows)
    np.testing.assert_allclose(found.values["x"], explainer.shap_values(x), atol=1e-5)
    np.testing.assert_allclose(found.baseline_value, explainer.expected_value, atol=1e-5)
