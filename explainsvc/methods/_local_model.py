"""The local linear model of LIME: weights by distance, a weighted ridge regression with intercept, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array

CONSTANT = 1e-6
"""Deviation of S from its mean, relative to its largest value, that float32 rounding makes of a constant."""


@dataclass(frozen=True)
class LocalModel:
    """S ≈ intercept + Σ_j coefficients_j z_j; ``r2`` is the weighted coefficient of determination on the samples."""

    coefficients: Array
    intercept: float
    r2: float


def proximity(distance: Array, width: float) -> Array:
    """√exp(−d²/σ²), the kernel of the lime package."""
    return np.asarray(np.sqrt(np.exp(-(distance**2) / width**2)))


def cosine_distances(present: Array) -> Array:
    """1 − cos(z, 1) of binary rows [samples, features] from the row of ones; 1 for the row of zeros."""
    return np.asarray(1 - np.sqrt(present.sum(axis=1) / present.shape[1]))


def euclidean_distances(rows: Array, origin: Array) -> Array:
    """‖z − origin‖ of rows [samples, features]."""
    return np.asarray(np.sqrt(((rows - origin) ** 2).sum(axis=1)))


def fitted(z: Array, y: Array, weights: Array, alpha: float) -> LocalModel:
    """argmin Σ_k π_k (y_k − b − β·z_k)² + α‖β‖²; the intercept b is not penalised (scikit-learn's Ridge).

    Args:
        z: Samples of the features, [samples, features].
        y: Their scores S, [samples].
        weights: π ≥ 0, not all zero, [samples].
        alpha: Penalty; 0 gives weighted least squares (of minimal norm where there are several).
    """
    total = weights.sum()
    z_mean, y_mean = weights @ z / total, float(weights @ y / total)
    root = np.sqrt(weights)
    a, b = root[:, None] * (z - z_mean), root * (y - y_mean)
    beta = _ridge(a, b, alpha)
    spread = float(b @ b)
    constant = spread <= (CONSTANT * np.abs(y).max()) ** 2 * total
    r2 = 1.0 if constant else 1 - float(np.sum((b - a @ beta) ** 2)) / spread
    return LocalModel(beta, float(y_mean - beta @ z_mean), r2)


def _ridge(a: Array, b: Array, alpha: float) -> Array:
    """(AᵀA + αI)⁻¹Aᵀb = Aᵀ(AAᵀ + αI)⁻¹b, by the smaller of the two matrices."""
    if alpha == 0:
        return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0])
    if a.shape[1] <= a.shape[0]:
        return np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ b)
    return np.asarray(a.T @ np.linalg.solve(a @ a.T + alpha * np.eye(a.shape[0]), b))
