"""Games whose Shapley values are known by formula, against all their orders."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from explainsvc.methods._shapley import carrier_values, max_shapley
from tests.methods.games import by_coalitions, by_permutations


@pytest.mark.parametrize(("a", "b"), [pair for pair in product(range(4), repeat=2) if pair != (0, 0)])
def test_carrier_games(a: int, b: int) -> None:
    """1[A ⊆ T, B ∩ T = ∅] for every small A and B, and a dummy player beside them."""
    there, gone = frozenset(range(a)), frozenset(range(a, a + b))
    expected = by_permutations(lambda t: float(there <= t and not gone & t), a + b + 1)
    of_a, of_b = carrier_values(np.array(a), np.array(b))
    np.testing.assert_allclose(expected, [of_a] * a + [of_b] * b + [0], atol=1e-15)


@pytest.mark.parametrize("players", range(1, 11))
@pytest.mark.parametrize("whole", [False, True], ids=["reals", "integers with ties"])
def test_max(players: int, whole: bool) -> None:
    """The maximum of present and absent values, ties within and between them included."""
    rng = np.random.default_rng([players, whole])
    for common in (False, True):
        x, absent = (rng.integers(0, 4, players) if whole else rng.standard_normal(players) for _ in range(2))
        absent = np.full_like(absent, absent[0]) if common else absent
        values = np.array([absent, x], float)
        expected = by_coalitions(lambda t, v=values: max(v[int(i in t), i] for i in range(players)), players)
        np.testing.assert_allclose(max_shapley(values[1], values[0]), expected, atol=1e-12)
