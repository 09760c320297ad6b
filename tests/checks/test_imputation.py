from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks._imputation import imputed


def loops(planes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The same system pixel by pixel, dense: every missing pixel is the weighted mean of the neighbours it has."""
    filled = planes.astype(float)
    gone = [tuple(p) for p in np.argwhere(missing)]
    matrix, known = np.zeros((len(gone), len(gone))), np.zeros((len(gone), len(planes)))
    for row, (i, j) in enumerate(gone):
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                y, x = i + di, j + dj
                if (di, dj) == (0, 0) or not (0 <= y < missing.shape[0] and 0 <= x < missing.shape[1]):
                    continue
                weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
                matrix[row, row] += weight
                if (y, x) in gone:
                    matrix[row, gone.index((y, x))] -= weight
                else:
                    known[row] += weight * planes[:, y, x]
    for (i, j), value in zip(gone, np.linalg.solve(matrix, known), strict=True):
        filled[:, i, j] = value
    return filled


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_missing_pixels_solve_the_system(share: float) -> None:
    """Equal to the dense system, all channels with one mask."""
    rng = np.random.default_rng(int(10 * share))
    planes, missing = rng.standard_normal((3, 7, 9)), rng.random((7, 9)) < share
    np.testing.assert_allclose(imputed(planes, np.broadcast_to(missing, planes.shape)), loops(planes, missing), rtol=1e-9)


def test_channels_may_miss_different_pixels() -> None:
    """Each channel is filled from its own pixels."""
    rng = np.random.default_rng(5)
    planes, missing = rng.standard_normal((2, 6, 5)), rng.random((2, 6, 5)) < 0.5
    expected = [loops(planes[c : c + 1], missing[c])[0] for c in range(2)]
    np.testing.assert_allclose(imputed(planes, missing), expected, rtol=1e-9)


def test_a_slope_is_filled_as_it_was() -> None:
    """Inside, a plane of constant slope solves the system: its pixels are the means of their neighbours."""
    plane = np.add.outer(2.0 * np.arange(8), -3.0 * np.arange(8))[None]
    missing = np.zeros((1, 8, 8), bool)
    missing[:, 2:6, 1:7] = True
    np.testing.assert_allclose(imputed(np.where(missing, 99.0, plane), missing), plane, atol=1e-9)


def test_nothing_left_is_the_mean() -> None:
    """A plane without any pixel becomes its own mean; one that misses nothing stays."""
    planes = np.arange(18.0).reshape(2, 3, 3)
    none, every = np.zeros((2, 3, 3), bool), np.ones((2, 3, 3), bool)
    np.testing.assert_array_equal(imputed(planes, none), planes)
    np.testing.assert_array_equal(imputed(planes, every)[:, 0, 0], [4, 13])
