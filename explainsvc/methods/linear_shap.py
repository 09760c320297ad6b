"""linear_shap: Shapley values of a target that is affine in the inputs, in closed form.

Computes: φ_i = w_i (x_i − E x_i) with w = ∂S/∂x and E the mean over the background rows; summed over the elements of a feature.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Only affine operators between the inputs and the target; tested at random points too. Else the method refuses.
Cost: One forward and backward pass, and a forward per row of background data and per test point.
Properties: Completeness, dummy, symmetry, linearity; equal to exact_shap, whatever the number of features.
Limits: Probabilities are not affine: explain the value before Softmax or Sigmoid, where the graph has it.
Source: Lundberg, Lee 2017, arXiv:1705.07874, corollary 1.
Differs: Features are held independent, as shap's LinearExplainer by default; shap takes w as given, here it is the graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import SHAPLEY
from explainsvc.cards import read_card
from explainsvc.engine import gradients
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.method import Method, Request, Result
from explainsvc.methods._affine import require_affine
from explainsvc.methods._shapley import ElementParams, Play, play, shared_out
from explainsvc.variations import target_values

if TYPE_CHECKING:
    from explainsvc.model import Model

POINTS = 5
"""Random points at which affinity is tested."""
TOLERANCE = 1e-3
"""Of the sum of |w_i (p_i − x_i)| and |S(x)|: what float32 kernels may round off on the way."""
TO_DO = "Explain the value before the nonlinear operator by its name, or use kernel_shap"


def run(request: Request, p: ElementParams) -> Result:
    """The gradient at x, times what x has over the mean of the background."""
    requires(request.model, request.target.output, request.wanted)
    game = play(request, p)
    features = game.game.features
    slope = {n: g.astype(np.float64) for n, g in gradients(request).items()}
    _require_affine_at_points(request, slope, game)
    mean = {n: np.mean([row[n].astype(np.float64) for row in game.game.rows], axis=0) for n in request.wanted}
    phi = np.zeros((len(game.whole), features.count))
    for name, mask in features.masks.items():
        terms = slope[name] * (request.feeds[name] - mean[name])
        items = mask.reshape(len(phi) if request.has_items(name) else 1, -1)
        for item, (numbers, values) in enumerate(zip(items, terms.reshape(items.shape), strict=True)):
            phi[item] += np.bincount(numbers, values, features.count)
    return shared_out(request, features, phi, game.empty, game.whole, {})


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Affine operators from the inputs to the target.

    Raises:
        MethodNotApplicable: Names the first other node.
    """
    sources = [v for v in model.graph.inputs if v.name in inputs]
    require_affine(model.graph, sources, find_value(model.graph, output), "linear_shap", TO_DO)


def _require_affine_at_points(request: Request, slope: dict[str, Array], game: Play) -> None:
    """S(p) = S(x) + ⟨w, p − x⟩ at random points on and beyond the way to the background.

    Raises:
        MethodNotApplicable: It is not, by more than rounding.
    """
    rng = np.random.default_rng(request.seed)
    for _ in range(POINTS):
        row = game.game.rows[int(rng.integers(len(game.game.rows)))]
        steps = {}
        for name in request.wanted:
            x = request.feeds[name].astype(np.float64)
            steps[name] = rng.uniform(-1, 2, x.shape) * (row[name] - x) + rng.standard_normal(x.shape) * (np.abs(x).mean() + 1e-3)
        point = {n: (request.feeds[n] + step).astype(request.feeds[n].dtype) for n, step in steps.items()}
        found = target_values(request.on(request.feeds | point)).sum()
        terms = np.concatenate(
            [(slope[n] * (point[n].astype(np.float64) - request.feeds[n])).reshape(-1) for n in request.wanted]
        )
        off = abs(found - game.whole.sum() - terms.sum())
        if not off <= TOLERANCE * (np.abs(terms).sum() + np.abs(game.whole).sum()):
            raise MethodNotApplicable(
                f"the target is not affine: at a random point it is off by {off:.3g}", where=f'target "{request.target.output}"',
                expected="S(p) = S(x) + w·(p − x)", to_do=TO_DO,
            )  # fmt: skip


METHOD = Method(
    read_card("linear_shap", __doc__, ElementParams, SHAPLEY), ElementParams, run=run, complete="difference", family="sampling",
    requires=requires,
)  # fmt: skip
