"""A set of which is known what tells its classes, and models whose maps point where a test wants."""

from __future__ import annotations

import numpy as np

import explainsvc
from explainsvc.model import Model
from explainsvc.training.data import Data
from explainsvc.training.removal import Estimator
from tests.models import Array, build

FEATURES, TRUE = 20, slice(0, 5)
"""Of 20 features the first five tell the class; all others are noise."""
CENTRES = np.array([[1, 1, 1, -1, -1], [1, -1, -1, 1, -1], [-1, -1, 1, 1, 1]])
GRADIENT = Estimator("gradient")


def informative(count: int, seed: int) -> Data:
    """Three classes; their centres differ in the true features alone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = rng.normal(size=(count, FEATURES))
    x[:, TRUE] += 1.5 * CENTRES[labels]
    return Data({"x": x.astype(np.float32)}, labels)


TRAIN_SET, TEST_SET = informative(120, 0), informative(120, 1)


def pointing(at: Array) -> Model:
    """A linear model whose gradient is the same map for every class and item."""
    weights = np.repeat(at[:, None], 3, axis=1).astype(np.float32)
    graph = f"g (float[N, {FEATURES}] x) => (float[N, 3] y) {{ [head] y = Gemm(x, w, b) }}"
    return explainsvc.load(build(graph, {"w": weights, "b": np.arange(3, dtype=np.float32)}))


MASK = np.where(np.arange(FEATURES) < 5, 1.0, 0.0)
