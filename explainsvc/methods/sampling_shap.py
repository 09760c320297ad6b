"""sampling_shap: Shapley values as the mean gain that a feature brings when features come in random order.

Computes: Mean over permutations of v(those before i, and i) − v(those before i); every permutation also in reverse.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Nothing of the model: any model that onnxruntime runs, trees included.
Cost: `samples` · (M − 1) forwards per row of background data and item.
Properties: Completeness exactly, for any number of samples; unbiased; the standard error is in `parameters`.
Limits: Random: differences below the standard error mean nothing; mixtures may lie off the data.
Source: Castro, Gómez, Tejada 2009, doi:10.1016/j.cor.2008.04.004, algorithm 1; Mitchell et al. 2022, arXiv:2104.12199.
Differs: Always antithetic, as shap's PermutationExplainer; `samples` counts permutations, both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, tee

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._moments import moments, standard_error, telling
from explainsvc.methods._shapley import GameParams, Play, play, standard_error_caveat


@dataclass(frozen=True)
class Params(GameParams):
    """The game, and the number of permutations."""

    samples: int = param(40, "int", "permutations, half of them the reverse of the others; an odd number is rounded up", low=4)


def run(request: Request, p: Params) -> Result:
    """Mean and standard error over pairs of a permutation and its reverse."""
    game, pairs = play(request, p), (p.samples + 1) // 2

    def gains() -> Iterator[dict[str, Array]]:
        for k, gain in enumerate(pair_gains(game, pairs, request.seed), start=1):
            request.progress(k, pairs, "sampling_shap")
            yield {"φ": gain}

    told = telling(request, pairs, lambda arrays: game.result(arrays["φ"], {}).values, each=2)
    mean, variance = (moment["φ"] for moment in moments(gains(), told))
    error = standard_error(variance, pairs)
    in_force = {"samples": 2 * pairs, "standard_error": error.max(axis=1, initial=0)}
    return game.result(mean, in_force, standard_error_caveat(error, mean))


def pair_gains(game: Play, pairs: int, seed: int) -> Iterator[Array]:
    """Per pair the mean of what each player gains in the permutation and in its reverse, [items, m]."""
    rng = np.random.default_rng(seed)
    orders, again = tee(order for _ in range(pairs) for order in _both_ways(rng.permutation(game.count)))
    values = game.values(prefix for order in orders for prefix in _between(order))
    for _ in range(pairs):
        gains = [_gains(game, next(again), values) for _ in range(2)]
        yield np.asarray(np.mean(gains, axis=0))


def _both_ways(order: Array) -> tuple[Array, Array]:
    return order, order[::-1]


def _between(order: Array) -> Iterator[Array]:
    """The coalitions on the way of one order, but the first and the last."""
    present = np.zeros(len(order), bool)
    for player in order[:-1]:
        present[player] = True
        yield present.copy()


def _gains(game: Play, order: Array, values: Iterator[Array]) -> Array:
    """What each player of one order adds to those before it."""
    on_the_way = [game.empty, *islice(values, max(len(order) - 1, 0)), game.whole]
    gains = np.zeros((len(game.whole), len(order)))
    for player, before, after in zip(order, on_the_way, on_the_way[1:], strict=False):  # no player: no step
        gains[:, player] = after - before
    return gains


CLAIMS = up_to_sampling("symmetry") | exactly("completeness", "dummy", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("sampling_shap", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="perturbation"
)
