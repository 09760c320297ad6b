"""Multinomial logistic regression by Newton's method in float64 and numpy alone: a truth for leave-one-out retraining."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import nn

Array = npt.NDArray[Any]
TOLERANCE = 1e-12
"""Largest element of the gradient at a minimum."""


class Logistic:
    """argmin over θ of Σ w·L(x, y, θ) / n + λ/2·‖θ‖², with L the cross-entropy and weights w of 1.

    θ is [class, feature + 1]: of each class its weights, then its bias.

    Args:
        x: Features, [item, feature].
        y: Classes, [item].
        penalty: λ.
    """

    def __init__(self, x: Array, y: Array, penalty: float) -> None:
        self.x, self.one_hot, self.penalty = _with_one(x), np.eye(int(y.max()) + 1)[y], penalty
        theta = np.zeros((self.one_hot.shape[1], self.x.shape[1]))
        while np.abs(self.gradient(theta, self.x)).max() > TOLERANCE:
            theta = theta - np.linalg.solve(self.hessian(theta), self.gradient(theta, self.x).ravel()).reshape(theta.shape)
        self.theta, self._factor = theta, cho_factor(self.hessian(theta))

    def probabilities(self, theta: Array, x: Array) -> Array:
        """Softmax, [item, class]."""
        z = x @ theta.T
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def gradient(self, theta: Array, x: Array, weights: Array | float = 1.0) -> Array:
        """Of the objective, with these features in place of ours."""
        error = (self.probabilities(theta, x) - self.one_hot) * np.reshape(weights, (-1, 1))
        return np.asarray(error.T @ x / len(x) + self.penalty * theta)

    def hessian(self, theta: Array) -> Array:
        """Of the objective, dense: block (k, l) is Xᵀ diag(p_k(δ_kl − p_l)) X / n, plus λI."""
        p = self.probabilities(theta, self.x)
        classes, features = theta.shape
        found = np.empty((classes, features, classes, features))
        for k in range(classes):
            for other in range(classes):
                found[k, :, other] = (self.x * (p[:, k] * ((k == other) - p[:, other]))[:, None]).T @ self.x / len(p)
        return found.reshape(theta.size, theta.size) + self.penalty * np.eye(theta.size)

    def without(self, item: int) -> Array:
        """θ after retraining with one item at weight 0."""
        weights = np.ones(len(self.x))
        weights[item] = 0
        return self._retrained(self.x, weights)

    def moved(self, item: int, by: Array) -> Array:
        """θ after retraining with ``by`` added to the features of one item."""
        x = self.x.copy()
        x[item, :-1] += by
        return self._retrained(x, np.ones(len(x)))

    def losses(self, theta: Array, x: Array, y: Array) -> Array:
        """Cross-entropy of each item, [item]."""
        return np.asarray(-np.log(self.probabilities(theta, _with_one(x))[np.arange(len(y)), y]))

    def module(self) -> nn.Linear:
        """The same function in torch, float64: features → logits."""
        layer = nn.Linear(self.x.shape[1] - 1, len(self.theta), dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.theta[:, :-1]))
            layer.bias.copy_(torch.from_numpy(self.theta[:, -1]))
        return layer

    def _retrained(self, x: Array, weights: Array) -> Array:
        """Newton's method with the Hessian of all items: one item changes it so little that a few steps more are cheaper."""
        theta = self.theta
        while np.abs(gradient := self.gradient(theta, x, weights)).max() > TOLERANCE:
            theta = theta - cho_solve(self._factor, gradient.ravel()).reshape(theta.shape)
        return theta


def _with_one(x: Array) -> Array:
    return np.hstack([x, np.ones((len(x), 1))])
