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

from dataclasses import dataclass

import numpy as np

from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Method, Request, Result
from explainsvc.methods._kernel import choose, regression
from explainsvc.methods._shapley import GameParams, play, standard_error_caveat

MAX_PLAYERS = 4096
"""The regression holds a matrix of their square: 134 MB."""


@dataclass(frozen=True)
class Params(GameParams):
    """The game, and the budget."""

    samples: int = param(0, "int", "coalitions; 0: 2M + 2048 of the M features that vary", low=0)


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
    phi, error = regression(game, pairs, "kernel_shap")
    used = {"samples": 2 * len(pairs), "standard_error": error.max(axis=1)}
    return game.result(phi, used, standard_error_caveat(error, phi))


CLAIMS = up_to_sampling("dummy", "symmetry") | exactly("completeness", "linearity", "implementation_invariance")
METHOD = Method(read_card("kernel_shap", __doc__, Params, CLAIMS), Params, run=run, complete="difference", family="perturbation")
