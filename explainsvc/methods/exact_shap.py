"""exact_shap: Shapley values of few features, from all their coalitions (or, by `order`, from the small ones).

Computes: φ_i = Σ_{T∌i} |T|!(M−|T|−1)!/M! (v(T∪i) − v(T)), from all coalitions. With `order` k and by=dividends:
    φ_i = Σ_{T∋i, |T|≤k} m(T)/|T|, m(T) = Σ_{U⊆T} (−1)^{|T|−|U|} v(U), from coalitions of at most k. With by=regression:
    argmin_φ Σ_z π(z) (v(z) − v(∅) − Σ_i z_i φ_i)² with Σ φ = S(x) − v(∅) over the coalitions of at most k or at least M−k.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Nothing of the model; few features: all coalitions that are asked for must be at most 65536 (16 features, all orders).
Cost: One forward per coalition, row of background data and item: 2^M; with `order` k Σ_{j≤k} C(M, j), by regression twice that.
Properties: Completeness, dummy, symmetry, linearity; all exact. With `order`, by dividends: exact where no more than k features
    interact, else not complete; by regression: complete always, exact where no more than two features interact.
Limits: Absent features come from the background whatever the present ones are: mixtures may lie off the data.
Source: Shapley 1953; Lundberg, Lee 2017, arXiv:1705.07874, equations 4, 8, theorem 2, section 4.2; Harsanyi 1963 for dividends.
Differs: Low-Order SHAP of section 4.2 is the regression of theorem 2 on all coalitions of few features, O(2^M + M³): the values
    computed here without `order`. Both ways to leave coalitions out are additions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import SHAPLEY
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.features import default_features
from explainsvc.method import Method, Request, Result
from explainsvc.methods._kernel import Pairs, pairs_of, regression
from explainsvc.methods._shapley import GameParams, Play, play

if TYPE_CHECKING:
    from explainsvc.model import Model

MAX_COALITIONS = 2**16
WAYS = ("dividends", "regression")
NEGLIGIBLE = 1e-3
"""Part of the largest |φ| that may be missing without a word."""


@dataclass(frozen=True)
class Params(GameParams):
    """The game, and how many features may interact."""

    order: int = param(0, "int", "sizes of coalitions that are asked for, up to this one; 0: all, the Shapley values", low=0)
    by: str = param("dividends", "str", "what is made of coalitions up to `order`: see Computes", choices=WAYS)


def run(request: Request, p: Params) -> Result:
    """Adds every coalition's value to each player by the player's weight in it."""
    if p.feature_mask is None and not p.order:
        _require_few_by_default({n: (request.item_shape(n), request.feeds[n].dtype.kind) for n in request.wanted})
    game = play(request, p)
    if p.by == "regression" and p.order and game.count > 1:
        return _by_regression(game, min(p.order, game.count // 2))
    order = min(p.order or game.count, game.count)
    total = sum(comb(game.count, size) for size in range(order + 1))
    _require_few(game.count, order, total)
    inside, outside = dividend_weights(game.count, order)
    phi = np.zeros((len(game.whole), game.count))
    values = game.values(coalitions(game.count, order))
    for k, (present, value) in enumerate(zip(coalitions(game.count, order), values, strict=True)):
        size = int(present.sum())
        phi += (value - game.empty)[:, None] * np.where(present, inside[size], outside[size])
        request.progress(k + 1, total, "exact_shap")
    return game.result(phi, {"coalitions": total}, _truncated(phi, game, order))


def _by_regression(game: Play, order: int) -> Result:
    """Theorem 2 of Lundberg & Lee 2017 on the coalitions of at most ``order`` players and their complements."""
    total = 2 * sum(pairs_of(game.count, size) for size in range(order + 1))
    _require_few(game.count, order, total)
    nothing = np.zeros((0, -(-game.count // 8)), np.uint8)
    phi, _ = regression(game, Pairs(game.count, order, nothing, np.zeros(0, int), 0.0), "exact_shap")
    return game.result(phi, {"coalitions": total}, _between(game, order))


def _between(game: Play, order: int) -> tuple[str, ...]:
    if 2 * order + 1 >= game.count:
        return ()
    return (
        f"coalitions of {order + 1} to {game.count - order - 1} features were not asked for: the values are a fit to the others",
    )


def _truncated(phi: Array, game: Play, order: int) -> tuple[str, ...]:
    """Said where the dividends that `order` leaves out add up to something."""
    missing = float(np.abs(phi.sum(axis=1) - game.gap).max())
    if order == game.count or missing <= NEGLIGIBLE * float(np.abs(phi).max(initial=0)):
        return ()
    return (f"more than order={order} features interact: what they are worth together, up to {missing:.3g}, is left out",)


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Few features where the declared shapes tell their number.

    Raises:
        MethodNotApplicable: All coalitions of the default features are too many.
    """
    shapes = {}
    for tensor in (t for t in model.inputs if t.name in inputs and t.shape is not None):
        shape = (tensor.shape or ())[1 if model.leads_with_items(tensor.name) else 0 :]
        if all(isinstance(n, int) for n in shape):
            shapes[tensor.name] = (tuple(int(n) for n in shape if n is not None), np.dtype(tensor.dtype).kind)
    if len(shapes) == len(inputs):
        _require_few_by_default(shapes)


def _require_few_by_default(shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Input → shape of an item and numpy kind."""
    kinds = {default_features(shape, kind) for shape, kind in shapes.values()}
    if "superpixel" in kinds:
        raise _too_many("images have, by default, about 50 superpixels as features")
    count = sum(shape[0] if default_features(shape, kind) == "token" else int(np.prod(shape)) for shape, kind in shapes.values())
    if 2**count > MAX_COALITIONS:
        raise _too_many(f"{count} features have 2^{count} coalitions")


def _require_few(players: int, order: int, total: int) -> None:
    if total > MAX_COALITIONS:
        raise _too_many(f"{players} features have {total} coalitions of at most {order}")


def _too_many(what: str) -> MethodNotApplicable:
    return MethodNotApplicable(
        what, where="parameters.feature_mask",
        expected=f"at most {MAX_COALITIONS} coalitions: 16 features of all orders, 73 of order 3, 361 of order 2",
        to_do="Group features by feature_mask, set order, or use kernel_shap or sampling_shap",
    )  # fmt: skip


def coalitions(players: int, order: int) -> Iterator[Array]:
    """All coalitions of at most ``order`` players, small ones first."""
    for size in range(order + 1):
        for members in combinations(range(players), size):
            present = np.zeros(players, bool)
            present[list(members)] = True
            yield present


def dividend_weights(players: int, order: int) -> tuple[Array, Array]:
    """Weight of v(T) in φ_i by |T| from 0 to ``order``: for i in T, and for i not in T.

    φ_i = Σ_{U∋i, |U|≤k} m(U)/|U| with the dividends m(U) = Σ_{T⊆U} (−1)^{|U|−|T|} v(T). With ``order`` = ``players`` these are
    (|T|−1)!(M−|T|)!/M! and −|T|!(M−|T|−1)!/M!.
    """

    def weight(size: int, given: int) -> float:
        """Σ over U of at most ``order`` that hold ``given`` players (T and i)."""
        terms = (Fraction((-1) ** (u - size) * comb(players - given, u - given), u) for u in range(max(given, 1), order + 1))
        return float(sum(terms, Fraction(0)))

    sizes = range(order + 1)
    return np.array([weight(t, t) for t in sizes]), np.array([weight(t, t + 1) for t in sizes])


METHOD = Method(
    read_card("exact_shap", __doc__, Params, SHAPLEY),
    Params,
    run=run,
    complete="difference",
    family="perturbation",
    requires=requires,
)
