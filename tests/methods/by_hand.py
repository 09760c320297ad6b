"""What small models of tests/models.py owe to their elements, worked out by hand."""

from __future__ import annotations

import numpy as np

from tests import models
from tests.models import Array


def mixing_drops(x: Array) -> Array:
    """Of ``models.mixing``, output 1: what each item loses when a column is 0 in all of them; softmax over the items."""
    w = models.weights("w", 4, 2)

    def result(rows: Array) -> Array:
        e = np.exp(rows.astype(np.float64))
        return np.asarray(e / e.sum(axis=0) @ w)[:, 1]

    return np.stack([result(x) - result(np.where(np.arange(4) == j, 0, x)) for j in range(4)], axis=1)


def quadratic_shapley(x: Array) -> Array:
    """Of ``models.quadratic``, Σ c x² + 3 x₀x₁, against 0: every square is its element's, the pair is halved."""
    c = np.array([1, -2, 0.5, 3])
    return np.asarray(c * x**2 + np.array([1.5, 1.5, 0, 0]) * x[:, :1] * x[:, 1:2])
