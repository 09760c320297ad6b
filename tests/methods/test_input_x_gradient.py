"""input_x_gradient: x ⊙ ∂S/∂x."""

from __future__ import annotations

import numpy as np

import explainsvc
from tests import models
from tests.models import numbers


def test_it_is_the_product() -> None:
    """Each element times its derivative, signs kept."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    gradient = model.explain({"x": x}, target=1).values["x"]
    np.testing.assert_allclose(model.explain({"x": x}, "input_x_gradient", target=1).values["x"], x * gradient, rtol=1e-6)


def test_it_sums_to_the_output_without_biases() -> None:
    """A ReLU network without biases is homogeneous: Σ x ∂S/∂x = S (Euler)."""
    x = numbers(3, 6)
    found = explainsvc.load(models.mlp(bias=False)).explain({"x": x}, "input_x_gradient", target=2)
    np.testing.assert_allclose(found.values["x"].sum(axis=1), found.output_value, rtol=1e-5)
