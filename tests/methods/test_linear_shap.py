"""linear_shap: the closed form on affine graphs, the same as all coalitions; a refusal of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods._shapley import ElementParams, play
from explainsvc.methods.linear_shap import _require_affine_at_points
from tests import models
from tests.models import Array, numbers
from tests.test_features import request

AFFINE: dict[str, tuple[str, dict[str, Array], tuple[int, ...]]] = {
    "dense": ("g (float[N, 4] x) => (float[N, 3] y) { a = MatMul (x, w)  b = Mul (a, c)  y = Sub (b, d) }",
              {"w": models.weights("w", 4, 3), "c": numbers(3), "d": numbers(3, seed=1)}, (4,)),
    "convolutions": ("""g (float[N, 2, 6, 6] x) => (float[N, 3] y) {
        a = Conv <pads = [1, 1, 1, 1]> (x, k)  b = BatchNormalization (a, s, t, m, v)  c = AveragePool <kernel_shape = [2, 2]> (b)
        d = Add (c, b0)  e = GlobalAveragePool (d)  f = Flatten (e)  y = Neg (f)
    }""", {"k": models.weights("k", 3, 2, 3, 3), "s": numbers(3), "t": numbers(3, seed=1), "m": numbers(3, seed=2),
           "v": 1 + numbers(3, seed=3) ** 2, "b0": numbers(3, 1, 1, seed=4)}, (2, 6, 6)),
    "preprocessing": ("""g (float[N, 4] x) => (float[N, 3] y) {
        s = ai.onnx.ml.Scaler <offset = [0.1, 0.2, 0.3, 0.4], scale = [1.0, 2.0, 0.5, -1.0]> (x)
        y = ai.onnx.ml.LinearRegressor <targets = 3, intercepts = [1.0, 2.0, 3.0],
            coefficients = [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.0, 2.0, 0.3, 0.2, 0.1, 0.0]> (s)
    }""", {}, (4,)),
}  # fmt: skip


@pytest.mark.parametrize("case", AFFINE)
def test_affine_graphs(case: str) -> None:
    """The same as order-1 dividends of all coalitions, which are exact there; residual and baseline value."""
    text, weights, shape = AFFINE[case]
    model = explainsvc.load(models.build(text, weights))
    x, rows = numbers(2, *shape), numbers(3, *shape, seed=7)
    found = model.explain({"x": x}, "linear_shap", target=[0, 2], background=rows)
    options: dict[str, Any] = {"feature_mask": "element", "order": 1}
    expected = model.explain({"x": x}, "exact_shap", target=[0, 2], background=rows, **options)
    np.testing.assert_allclose(found.values["x"], expected.values["x"], atol=2e-5)
    np.testing.assert_allclose(found.baseline_value, expected.baseline_value, rtol=1e-5)
    assert np.abs(found.residual).max() < 1e-5
    assert np.abs(found.values["x"]).max() > 0.02


def test_the_formula() -> None:
    """w (x − mean of the rows), and its sums over groups."""
    x, rows, w = numbers(3, 4), numbers(5, 4, seed=2), models.weights("w", 4, 3)
    model = explainsvc.load(models.linear())
    expected = w.T * (x - rows.mean(axis=0))
    found = model.explain({"x": x}, "linear_shap", target=[0, 1, 2], background=rows).values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    grouped = model.explain({"x": x}, "linear_shap", target=[0, 1, 2], background=rows, feature_mask=[0, 1, 0, 1]).values["x"]
    np.testing.assert_allclose(grouped[:, :2], expected[:, :2] + expected[:, 2:], rtol=1e-4, atol=1e-6)


def test_inputs_that_are_held_fixed_are_constants() -> None:
    """p = b tanh(a·w) + b is affine in b alone: with a fixed it is explained, with both it is refused."""
    model, feeds = explainsvc.load(models.two_by_two()), {"a": numbers(2, 3), "b": numbers(2, 2)}
    found = model.explain(feeds, "linear_shap", target=1, inputs=["b"]).values["b"]
    slope = np.tanh(feeds["a"] @ models.weights("wa", 3, 2)) + 1
    np.testing.assert_allclose(found, np.stack([0 * slope[:, 1], slope[:, 1] * feeds["b"][:, 1]], axis=1), rtol=1e-5)
    with pytest.raises(MethodNotApplicable, match="Tanh"):
        model.explain(feeds, "linear_shap", target=1)


ROUNDED = "g (float[N, 2] x) => (float[N, 2] y) { i = Cast <to = 7> (x)  f = Cast <to = 1> (i)  y = Add (x, f) }"


@pytest.mark.parametrize(("proto", "feeds", "node"), [
    (models.mlp(), {"x": numbers(1, 6)}, "act1"), (models.quadratic(), {"x": numbers(1, 4)}, "Mul"),
    (models.scaled(), {"x": numbers(2, 3), "k": np.ones(1, np.float32)}, "Mul"),
    (models.without_batch(), {"x": numbers(5)}, "Tanh"), (models.build(ROUNDED), {"x": numbers(1, 2)}, "Cast"),
])  # fmt: skip
def test_other_graphs_are_refused(proto: Any, feeds: dict[str, Array], node: str) -> None:
    """By the first node that is not affine, however the numbers look near x; advice names what to do."""
    with pytest.raises(MethodNotApplicable, match=rf"{node}.*kernel_shap"):
        explainsvc.load(proto).explain(feeds, "linear_shap", target=(0,))


def test_a_kink_that_no_point_meets_is_refused_by_structure() -> None:
    """relu(x + 1000) is affine wherever one looks."""
    proto = models.build(
        "g (float[N, 2] x) => (float[N, 2] y) { a = Add (x, c)  y = Relu (a) }", {"c": np.full(2, 1e3, np.float32)}
    )
    with pytest.raises(MethodNotApplicable, match="Relu"):
        explainsvc.load(proto).explain({"x": numbers(1, 2)}, "linear_shap", target=0)


def test_a_wrong_slope_is_found_at_random_points() -> None:
    """The numbers are held against the model too: a slope off by a hundredth is refused."""
    asked = request(models.linear(), {"x": numbers(2, 4)})
    game = play(asked, ElementParams())
    slope = np.tile(models.weights("w", 4, 3)[:, 0].astype(float), (2, 1))
    _require_affine_at_points(asked, {"x": slope}, game)
    with pytest.raises(MethodNotApplicable, match="off by"):
        _require_affine_at_points(asked, {"x": 1.01 * slope}, game)
