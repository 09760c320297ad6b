"""Deep SHAP: the mean of DeepLIFT over rows of background data."""

from __future__ import annotations

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter
from tests import models
from tests.models import numbers

MLP, CNN = explainsvc.load(models.mlp()), explainsvc.load(models.cnn())


def test_deep_shap_is_the_mean_over_rows() -> None:
    """Row by row by deeplift, whatever the number of items in a run."""
    x, rows = numbers(3, 2, 8, 8), numbers(5, 2, 8, 8, seed=3)
    expected = np.mean([CNN.explain({"x": x}, "deeplift", target=2, baseline=row).values["x"] for row in rows], axis=0)
    for batch_size in (1, 6, 64):
        found = CNN.explain({"x": x}, "deep_shap", target=2, background=rows, batch_size=batch_size)
        np.testing.assert_allclose(found.values["x"], expected, rtol=1e-4, atol=1e-6)


def test_deep_shap_reports_additivity() -> None:
    """The baseline value is the mean of S over the rows, the residual what the sum leaves of the difference to it."""
    x, rows = numbers(3, 6), numbers(4, 6, seed=3)
    found = MLP.explain({"x": x}, "deep_shap", target=1, background=rows)
    mean = MLP.predict({"x": rows})["y"][:, 1].astype(np.float64).mean()
    np.testing.assert_allclose(found.baseline_value, [mean] * 3, rtol=1e-6)
    total = found.values["x"].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(found.residual, total - (found.output_value - mean), atol=1e-6)
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)


def test_deep_shap_of_a_product_is_exact() -> None:
    """x₀ x₁ has two players: the Shapley values of every row's game, averaged."""
    text = "g (double[N, 2] x) => (double[N, 1] y) { a, b = Split <axis = 1> (x)  y = Mul (a, b) }"
    x, rows = np.array([[3.0, -2.0]]), np.array([[1.0, 4.0], [0.0, 1.0], [-1.0, 2.0]])
    found = explainsvc.load(models.build(text)).explain({"x": x}, "deep_shap", background=rows).values["x"]
    shapley = [[(x[0, i] - r[i]) * (x[0, 1 - i] + r[1 - i]) / 2 for i in range(2)] for r in rows]
    np.testing.assert_allclose(found, [np.mean(shapley, axis=0)], atol=1e-12)


def test_background_of_another_shape_is_refused() -> None:
    """Rows must have an item's shape; the violation says which."""
    with pytest.raises(InvalidParameter, match="background"):
        MLP.explain({"x": numbers(2, 6)}, "deep_shap", background=numbers(3, 5))
