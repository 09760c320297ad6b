"""Noisy linear imputation: missing pixels from their neighbours (Rong et al. 2022, arXiv:2202.00449, Noisy Linear Imputation)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from explainsvc.autograd.shapes import Array

DIRECT, DIAGONAL = 1 / 6, 1 / 12
"""Weights of the four neighbours at an edge and the four at a corner (Rong et al. 2022)."""
OFFSETS = tuple((i, j, DIRECT if 0 in (i, j) else DIAGONAL) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


def imputed(planes: Array, missing: Array) -> Array:
    """The planes with missing pixels at the weighted mean of their neighbours, all solved for at once.

    Args:
        planes: [channel, height, width].
        missing: bool, of the same shape.

    Returns:
        float64. At the border the weights of the neighbours that exist are scaled to sum to one. A plane of which
        nothing is left is its own mean.
    """
    same = (missing == missing[:1]).all()
    groups = [slice(None)] if same else [slice(k, k + 1) for k in range(len(planes))]
    return np.concatenate([_solved(planes[g].astype(np.float64), missing[g][0]) for g in groups])


def _solved(planes: Array, missing: Array) -> Array:
    if missing.all():
        return np.array(np.broadcast_to(planes.mean(axis=(1, 2), keepdims=True), planes.shape))
    if missing.any():
        matrix, known = _system(planes, missing)
        planes[:, missing] = _symmetric(matrix).solve(known).T
    return planes


def _symmetric(matrix: coo_array) -> splu:
    """The factors of a symmetric, diagonally dominant matrix: no pivoting is needed, and the fill stays small."""
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _system(planes: Array, missing: Array) -> tuple[coo_array, Array]:
    """Σ w (u − neighbour) = 0 for every missing pixel: the matrix, and what known neighbours contribute [unknown, channel]."""
    count = int(missing.sum())
    number = np.full(missing.shape, -1)
    number[missing] = np.arange(count)
    total, known = np.zeros(count), np.zeros((count, len(planes)))
    rows, columns, entries = [], [], []
    for weight, here, there in _neighbours(missing):
        index, other = number[here], number[there]
        total[index] += weight
        gone = other >= 0
        known[index[~gone]] += weight * planes[:, there[0][~gone], there[1][~gone]].T
        rows.append(index[gone])
        columns.append(other[gone])
        entries.append(np.full(int(gone.sum()), -weight))
    rows, columns, entries = [*rows, np.arange(count)], [*columns, np.arange(count)], [*entries, total]
    joined = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(joined, shape=(count, count)), known


def _neighbours(missing: Array) -> Iterator[tuple[float, tuple[Array, Array], tuple[Array, Array]]]:
    """Weight, missing pixels that have this neighbour, and that neighbour of each."""
    i, j = np.nonzero(missing)
    height, width = missing.shape
    for down, right, weight in OFFSETS:
        y, x = i + down, j + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        yield weight, (i[inside], j[inside]), (y[inside], x[inside])
