"""Shapley values as a regression on pairs of a coalition and its complement (Lundberg & Lee 2017, theorem 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice, tee
from math import comb

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.methods._shapley import Play

CHUNK = 512
"""Pairs that are added to the normal equations at once."""
DRAWS_PER_PAIR = 4
"""Drawing ends after so many draws per wanted pair, new ones or not (shap's bound)."""
SINGULAR = 1e-10
"""Smallest pivot over largest, below which the coalitions do not determine the regression."""


@dataclass(frozen=True)
class Pairs:
    """Coalitions z, each standing for itself and its complement, as rows s = 2z − 1, with weights.

    Attributes:
        players: M.
        full: All coalitions of up to this size (and their complements) are there.
        drawn: Random ones of the sizes between, distinct, bool [n, M] packed along axis 1.
        counts: How often each was drawn [n].
        mass: π summed over all pairs of the sizes that were drawn from.
    """

    players: int
    full: int
    drawn: Array
    counts: Array
    mass: float

    def __iter__(self) -> Iterator[tuple[Array, float]]:
        """(z, weight), enumerated ones first."""
        for size in range(1, self.full + 1):
            for members in _subsets(self.players, size):
                yield members, kernel(self.players, size)
        for k, count in enumerate(self.counts):
            yield self.draw(k), self.mass * count / self.counts.sum()

    def draw(self, k: int) -> Array:
        """Drawn coalition ``k``, bool [M]."""
        return np.unpackbits(self.drawn[k], count=self.players).astype(bool)

    def __len__(self) -> int:
        return sum(pairs_of(self.players, size) for size in range(1, self.full + 1)) + len(self.counts)


def kernel(players: int, size: int) -> float:
    """π of one coalition (Lundberg & Lee 2017, theorem 2)."""
    return (players - 1) / (comb(players, size) * size * (players - size))


def pairs_of(players: int, size: int) -> int:
    """Number of pairs of a coalition of this size and its complement."""
    return comb(players, size) // (2 if 2 * size == players else 1)


def _subsets(players: int, size: int) -> Iterator[Array]:
    """One coalition of every pair: those of this size; of those of half the players, those with the first one."""
    for members in islice(combinations(range(players), size), pairs_of(players, size)):
        present = np.zeros(players, bool)
        present[list(members)] = True
        yield present


def choose(players: int, samples: int, rng: np.random.Generator) -> Pairs:
    """All pairs where they fit in ``samples`` coalitions; else whole sizes as long as their share pays for them, then draws."""
    sizes = range(1, players // 2 + 1)
    mass = {size: kernel(players, size) * pairs_of(players, size) for size in sizes}
    left, full, everything = samples // 2, 0, 2**players - 2 <= samples
    for size in sizes:
        share = mass[size] / sum(mass[k] for k in sizes if k >= size)
        if not everything and left * share < pairs_of(players, size):
            break
        left, full = left - pairs_of(players, size), size
    rest = [size for size in sizes if size > full]
    drawn = _drawn(players, {size: mass[size] for size in rest}, left, rng) if rest and left > 0 else {}
    packed = np.array([np.frombuffer(key, np.uint8) for key in drawn], np.uint8).reshape(len(drawn), -(-players // 8))
    return Pairs(players, full, packed, np.array(list(drawn.values()), int), sum(mass[size] for size in rest))


def _drawn(players: int, mass: dict[int, float], wanted: int, rng: np.random.Generator) -> dict[bytes, int]:
    """Distinct pairs drawn in proportion to π, and how often; packed bits of the smaller coalition → count."""
    found: dict[bytes, int] = {}
    shares = np.array(list(mass.values()))
    for size in rng.choice(list(mass), DRAWS_PER_PAIR * wanted, p=shares / shares.sum()):
        present = np.zeros(players, bool)
        present[rng.permutation(players)[:size]] = True
        if 2 * size == players and not present[0]:
            present = ~present
        key = np.packbits(present).tobytes()
        found[key] = found.get(key, 0) + 1
        if len(found) == wanted:
            break
    return found


def regression(game: Play, pairs: Pairs, name: str) -> tuple[Array, Array]:
    """φ and its standard error, both [items, m].

    Of a pair only d = v(z) − v(1−z) ≈ sᵀφ with s = 2z − 1 counts: under Σφ = v(all) − v(∅) the sum of the pair's two residuals
    does not depend on φ. ``name`` is what the progress is told.
    """
    gram, moment = np.zeros((game.count, game.count)), np.zeros((game.count, len(game.whole)))
    ours, theirs = tee(pairs)
    values = game.values(side for z, _ in theirs for side in (z, ~z))
    drawn = []
    done = 0
    while group := list(islice(ours, CHUNK)):
        s = np.array([2.0 * z - 1 for z, _ in group])
        d = np.array([next(values) - next(values) for _ in group])
        weighted = s.T * [weight for _, weight in group]
        gram += weighted @ s
        moment += weighted @ d
        drawn.append(d[max(len(pairs) - len(pairs.counts) - done, 0) :])
        done += len(group)
        game.game.request.progress(done, len(pairs), name)
    phi, inverse = constrained(gram, moment, game.gap)
    return phi.T, standard_error(pairs, np.concatenate(drawn), phi, inverse).T


def constrained(gram: Array, moment: Array, gap: Array) -> tuple[Array, Array]:
    """argmin φᵀGφ − 2mᵀφ with 1ᵀφ = gap, [m, items], and the matrix that takes m to φ.

    Raises:
        InvalidParameter: The coalitions do not determine φ.
    """
    players = len(gram)
    try:
        # adding a multiple of 11ᵀ changes nothing under the constraint, and makes G invertible where φ is determined
        factor = cho_factor(gram + gram[0, 0])
    except LinAlgError as error:
        raise _too_few(players) from error
    pivots = np.diag(factor[0])
    if (pivots.min() / pivots.max()) ** 2 < SINGULAR:
        raise _too_few(players)
    ones = cho_solve(factor, np.ones(players))
    inverse = cho_solve(factor, np.eye(players)) - np.outer(ones, ones) / ones.sum()
    return inverse @ moment + np.outer(ones / ones.sum(), gap), inverse


def _too_few(players: int) -> InvalidParameter:
    description = f"gives coalitions that do not determine the values of {players} features; at least {2 * players} are needed"
    return InvalidParameter("there are too few coalitions", violations=[Violation("parameters.samples", description)])


def standard_error(pairs: Pairs, d: Array, phi: Array, inverse: Array) -> Array:
    """Of φ, [m, items], by the variance of the drawn pairs' part in the normal equations; 0 where all pairs are there.

    φ̂ − φ ≈ C · (W/n) Σ_draws s (d − sᵀφ) with C the inverse under the constraint: n independent draws (Covert & Lee 2021,
    appendix, to first order in the drawn matrix).
    """
    draws = pairs.counts.sum()
    if draws < 2:
        return np.zeros(phi.shape)
    total, squares = np.zeros(phi.shape), np.zeros(phi.shape)
    for start in range(0, len(d), CHUNK):
        part = slice(start, start + CHUNK)
        s = 2.0 * np.array([pairs.draw(k) for k in range(len(d))[part]]) - 1
        pulls, counts = s @ inverse, pairs.counts[part, None]
        excess = d[part] - s @ phi
        total += pulls.T @ (counts * excess)
        squares += (pulls**2).T @ (counts * excess**2)
    variance = np.maximum(squares / draws - (total / draws) ** 2, 0)
    error: Array = pairs.mass * np.sqrt(variance / (draws - 1))
    return error
