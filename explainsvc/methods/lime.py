"""lime: The slopes of a linear model that is fitted to the target around the input.

Computes: β of argmin Σ_k π_k (S(x_k) − b − β·z_k)² + α‖β‖². neighbourhood=presence: z is binary, each feature present with
probability 1/2, absent ones at the baseline (or the mean of S over the rows of `background`); neighbourhood=gaussian: x_k is
normal with mean and deviation of every column of `background`, z_k = (x_k − mean)/deviation. The first sample is x itself.
π = √exp(−d²/σ²), d the cosine distance from all-present with σ 0.25 for images and tokens, else Euclidean with σ 0.75√M.
Output: Signed, the input's shape. presence: in units of S, how much the presence of the element's feature adds; gaussian: in
units of S per standard deviation. Every element of a feature shows the feature's whole value.
Needs: Nothing of the model: any model that onnxruntime runs, trees included; features, a baseline or background data.
Cost: `samples` forwards per item (and row of background data), stacked in batches, and one ridge regression.
Properties: `weighted_r2` tells per item how much of S the linear model explains on its own samples; below 0.5 it is a caveat.
Limits: β is shrunk by α, the more the fewer samples weigh in; the choice of σ decides what is local. With fewer samples than
features the fit says little.
Source: Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938, equations 1 and 2; kernels, widths, α = 1 of the authors' lime package.
Differs: All features are kept (lime selects some first; its num_features). Images: SLIC superpixels (lime: quickshift), absent
ones at the baseline (lime: the superpixel's mean colour). Tables: presence against a baseline or background rows; lime by default
cuts every column into quartiles of the training data, redraws values from them, and asks whether the quartile is that of x. Its
discretize_continuous=False is neighbourhood=gaussian here, except that columns without deviation stay as they are and get 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly, up_to_sampling
from explainsvc.cards import param, read_card
from explainsvc.coalitions import Game, background_rows
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.features import Partition, default_features, partition
from explainsvc.method import Method, Request, Result
from explainsvc.methods._local_model import LocalModel, cosine_distances, euclidean_distances, fitted, proximity
from explainsvc.variations import per_variation, split_array, target_values

POOR = 0.5
"""Weighted R² below which a caveat says that the linear model does not describe the target here."""
COSINE_WIDTH = 0.25
"""σ for cosine distances, as in lime_image and lime_text (25 for distances × 100)."""
EUCLIDEAN_WIDTH = 0.75
"""σ for Euclidean distances over √features, as in lime_tabular."""


LARGEST = 10**8
"""Samples times features, as float64 several times in memory while the model is fitted."""


@dataclass(frozen=True)
class Params:
    """Samples, features, kernel and penalty."""

    samples: int = param(1000, "int", "samples, x itself among them", low=2, high=10_000_000)
    feature_mask: Any = param(None, "value", "features: element, pixel, column, token, superpixel, integers, {input: these}")
    neighbourhood: str = param("presence", "str", "what is sampled", choices=("presence", "gaussian"))
    baseline: Any = param(0.0, "value", "absent features: a number, an array, zero, mean, blur, or {input: any of these}")
    background: Any = param(None, "value", "rows [rows, *item shape] or {input: rows}; gaussian: their means and deviations")
    distance: str = param("auto", "str", "from x; auto: see Computes", choices=("auto", "cosine", "euclidean"))
    kernel_width: float = param(0.0, "float", "σ; 0: 0.25 for cosine, 0.75 √features for Euclidean distances", low=0)
    alpha: float = param(1.0, "float", "ridge penalty", low=0)
    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Samples, scores and fits, item by item."""
    features, z, scores = _presence(request, p) if p.neighbourhood == "presence" else _gaussian(request, p)
    values = np.zeros((scores.shape[1], features.count))
    models = []
    for i in range(scores.shape[1]):
        own = _features_of(i, features, request)
        rows = z[i if len(z) > 1 else 0][:, own]
        models.append(fitted(rows, scores[:, i], _weights(rows, request, p), p.alpha))
        values[i, own] = models[-1].coefficients
    found = {"weighted_r2": np.array([m.r2 for m in models]), "intercept": np.array([m.intercept for m in models])}
    return Result(features.spread(values, request), caveats=_caveats(models, p), parameters=found)


def _presence(request: Request, p: Params) -> tuple[Partition, Array, Array]:
    """Features, which are present [1, samples, M] (in the first sample all), and the scores [samples, items]."""
    features = partition(p.feature_mask, request)
    _require_fits(features.count, p)
    rng = np.random.default_rng(request.seed)
    present = rng.integers(0, 2, (features.count, p.samples), dtype=np.uint8).astype(bool).T  # a row of numbers per feature
    present[0] = True
    game = Game(request, features, background_rows(p.background, p.baseline, request), p.batch_size)
    return features, present[None], _scores(request, game.values(iter(present)), p)


def _gaussian(request: Request, p: Params) -> tuple[Partition, Array, Array]:
    """One feature an element, z [items, samples, M], and the scores [samples, items] (lime_tabular's __data_inverse)."""
    mean, deviation = _statistics(request, p)
    features = partition("element", request)
    _require_fits(features.count, p)
    rng = np.random.default_rng(request.seed)
    draws = [{n: rng.standard_normal(mean[n].shape) for n in request.wanted} for _ in range(p.samples - 1)]

    def sampled() -> Iterator[dict[str, Array]]:
        yield {n: request.feeds[n] for n in request.wanted}
        for draw in draws:
            moved = {n: mean[n] + deviation[n] * draw[n] for n in request.wanted}
            yield {n: np.array(np.broadcast_to(m, request.feeds[n].shape), request.feeds[n].dtype) for n, m in moved.items()}

    scores = _scores(request, per_variation(request, sampled(), target_values, split_array, p.batch_size), p)
    itself = [_standardised(request, n, mean[n], deviation[n], scores.shape[1]) for n in request.wanted]
    drawn = np.stack([np.concatenate([d[n].reshape(-1) * (deviation[n].reshape(-1) > 0) for n in request.wanted]) for d in draws])
    first = np.concatenate(itself, axis=1)
    return features, np.stack([np.concatenate([row[None], drawn]) for row in first]), scores


def _require_fits(features: int, p: Params) -> None:
    """Refuses what would not fit into memory, before the model runs.

    Raises:
        InvalidParameter: Too many samples of too many features.
    """
    if features * p.samples > LARGEST:
        wrong = f"is {p.samples}, for {features} features: together more than {LARGEST:.0e}; group the features by feature_mask"
        raise InvalidParameter("the regression is too large", violations=[Violation("parameters.samples", wrong)])


def _statistics(request: Request, p: Params) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and standard deviation of the background data, per element of an item.

    Raises:
        InvalidParameter: No background data, fewer than two rows, features that are groups, or integers to explain.
    """
    wrong = []
    if not (p.feature_mask is None or (isinstance(p.feature_mask, str) and p.feature_mask == "element")):
        wrong.append(Violation("parameters.feature_mask", "is not for neighbourhood gaussian, whose features are elements"))
    if any(request.feeds[n].dtype.kind != "f" for n in request.wanted):
        wrong.append(Violation("parameters.neighbourhood", "is gaussian, which needs float inputs"))
    rows = [] if p.background is None else background_rows(p.background, 0.0, request)
    if len(rows) < 2:
        wrong.append(Violation("parameters.background", f"has {len(rows)} rows, expected two or more for neighbourhood gaussian"))
    if wrong:
        raise InvalidParameter("the neighbourhood cannot be sampled", violations=wrong)
    one = {n: [row[n][0] if request.has_items(n) else row[n] for row in rows] for n in request.wanted}
    stacked = {n: np.stack(items).astype(np.float64) for n, items in one.items()}
    return {n: s.mean(axis=0) for n, s in stacked.items()}, {n: s.std(axis=0) for n, s in stacked.items()}


def _standardised(request: Request, name: str, mean: Array, deviation: Array, items: int) -> Array:
    """(x − mean)/deviation [items, elements], 0 where there is no deviation."""
    moved = request.feeds[name].astype(np.float64) - mean
    scaled = np.divide(moved, deviation, out=np.zeros_like(moved), where=np.broadcast_to(deviation > 0, moved.shape))
    return np.broadcast_to(scaled.reshape(items if request.has_items(name) else 1, -1), (items, mean.size))


def _scores(request: Request, scores: Iterator[Array], p: Params) -> Array:
    """S of the samples, [samples, items]."""
    found = []
    for score in scores:
        found.append(score)
        request.progress(len(found), p.samples, "lime")
    return np.stack(found)


def _features_of(item: int, features: Partition, request: Request) -> Array:
    """The features that one item has: pictures may have fewer superpixels than others of the request."""
    own = [mask[item] if request.has_items(name) else mask for name, mask in features.masks.items()]
    return np.unique(np.concatenate([mask.reshape(-1) for mask in own]))


def _weights(rows: Array, request: Request, p: Params) -> Array:
    """π of the samples [samples, features of the item], the first of which is the item."""
    kind = distance_kind(request, p)
    rows = rows.astype(np.float64)
    distance = cosine_distances(rows) if kind == "cosine" else euclidean_distances(rows, rows[0])
    usual = COSINE_WIDTH if kind == "cosine" else EUCLIDEAN_WIDTH * float(np.sqrt(rows.shape[1]))
    return proximity(distance, usual if p.kernel_width == 0 else p.kernel_width)


def distance_kind(request: Request, p: Params) -> str:
    """cosine for inputs that are images or sequences of tokens, else (and for z that are not binary) Euclidean.

    Raises:
        InvalidParameter: Cosine distances asked of a Gaussian neighbourhood.
    """
    if p.neighbourhood == "gaussian":
        if p.distance == "cosine":
            raise InvalidParameter("the distance does not fit", violations=[Violation(
                "parameters.distance", "is cosine, expected euclidean (or auto) for neighbourhood gaussian")])  # fmt: skip
        return "euclidean"
    if p.distance != "auto":
        return p.distance
    kinds = {default_features(request.item_shape(n), request.feeds[n].dtype.kind) for n in request.wanted}
    return "euclidean" if kinds == {"element"} else "cosine"


def _caveats(models: list[LocalModel], p: Params) -> tuple[str, ...]:
    poor = [m.r2 for m in models if m.r2 < POOR]
    largest = max(len(m.coefficients) for m in models)
    said = [f"the linear model explains {min(poor):.0%} of the target's variance around the input (weighted R²)"] if poor else []
    if largest >= p.samples:
        said.append(f"{p.samples} samples for {largest} features: the fit is decided by the ridge penalty; raise samples")
    return tuple(said)


CLAIMS = up_to_sampling("symmetry") | exactly("linearity", "implementation_invariance")
METHOD = Method(read_card("lime", __doc__, Params, CLAIMS), Params, run=run, family="perturbation")
