"""kernel_shap: Shapley values by weighted regression on coalitions of features.

Computes: argmin_φ Σ_z π(z) (v(z) − v(∅) − Σ_i z_i φ_i)² with Σ φ = S(x) − v(∅); π(z) = (M−1) / (C(M,k) k (M−k)), k = |z|.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Nothing of the model: any model that onnxruntime runs, trees included; at most 4096 features.
Cost: `samples` forwards per row of background data and item; all 2^M − 2 coalitions where they are no more.
Properties: Completeness exactly; equal to the Shapley values when all coalitions are there; else `standard_error` says how far.
Limits: Random where coalitions are drawn; mixtures of input and background may lie off the data.
Source: Lundberg, Lee 2017, arXiv:1705.07874, theorem 2; Covert, Lee 2021, arXiv:2012.01536, section 3 for pairs and variance.
Differs: Pairs z, 1−z always, sizes enumerated from outside as in shap; no ℓ1 selection of features, which shap does by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice, tee
from math import comb

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import param, read_card
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.method import Method, Request, Result
from explainsvc.methods._shapley import GameParams, Play, play, standard_error_caveat

MAX_PLAYERS = 4096
"""The regression holds a matrix of their square: 134 MB."""
CHUNK = 512
"""Pairs that are added to the normal equations at once."""
DRAWS_PER_PAIR = 4
"""Drawing ends after so many draws per wanted pair, new ones or not (shap's bound)."""
SINGULAR = 1e-10
"""Smallest pivot over largest, below which the coalitions do not determine the regression."""


@dataclass(frozen=True)
class Params(GameParams):
    """The game, and the budget."""

    samples: int = param(0, "int", "coalitions; 0: 2M + 2048 of the M features that vary", low=0)


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


def run(request: Request, p: Params) -> Result:
    """Draws, asks the model, solves."""
    game = play(request, p)
    if game.count > MAX_PLAYERS:
        raise MethodNotApplicable(
            f"{game.count} features vary", where="parameters.feature_mask", expected=f"at most {MAX_PLAYERS}",
            to_do="Group them, for images by superpixel, or use partition_shap",
        )  # fmt: skip
    samples = p.samples or 2 * game.count + 2048
    if game.count < 2:
        return game.result(np.repeat(game.gap[:, None], game.count, axis=1), {"samples": 0, "standard_error": 0 * game.gap})
    pairs = choose(game.count, samples, np.random.default_rng(request.seed))
    phi, error = regression(game, pairs)
    used = {"samples": 2 * len(pairs), "standard_error": error.max(axis=1)}
    return game.result(phi, used, standard_error_caveat(error, phi))


def regression(game: Play, pairs: Pairs) -> tuple[Array, Array]:
    """φ and its standard error, both [items, m].

    Of a pair only d = v(z) − v(1−z) ≈ sᵀφ with s = 2z − 1 counts: under Σφ = v(all) − v(∅) the sum of the pair's two residuals
    does not depend on φ.
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
        game.game.request.progress(done, len(pairs), "kernel_shap")
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


CLAIMS = up_to_sampling("dummy", "symmetry") | exactly("completeness", "linearity", "implementation_invariance")
METHOD = Method(read_card("kernel_shap", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="perturbation")
