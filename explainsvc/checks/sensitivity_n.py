"""sensitivity_n: Do attributions of a set of features add up to what the output loses without them?

Computes: For sets of n features, drawn at random, Pearson's correlation over the sets between the sum of the map over the set
    and S(x) − S(x with the set replaced); n from one feature to most of them, evenly in the logarithm.
Output: Rows (method, step, ``correlation``) by the share of the features that the sets hold; the unit names n; at the end
    ``mean_correlation`` over all n.
Needs: Nothing of the model; five inputs or more for a verdict.
Cost: sizes × subsets forwards per input, once for all methods with the same target.
Properties: 1 for every n if and only if the map's sums equal the drops up to a scale and a constant; contributions of a linear
    model reach it. A map of random numbers gets 0, its negation the negative.
Limits: Maps whose values are no contributions (a gradient without the input's factor) are measured as if they were. Inputs
    with parts replaced lie off the data.
Source: Ancona et al. 2018, arXiv:1711.06104, definition of Sensitivity-n and its evaluation; verdict: ours.
Differs: The sets are the same for all items and methods. A set is made of the features of `window`, pixels with all their
    channels by default, where the paper takes single values. Quantus draws no sets: it correlates over the inputs of its
    first batch, step by step along each map's own order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import _flipping as flipping
from explainsvc.checks import maps
from explainsvc.checks._controls import above
from explainsvc.checks._features import WINDOW, Features, features_of
from explainsvc.checks._substitutes import SUBSTITUTES, substitutes
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.checks.similarity import correlation
from explainsvc.method import Request
from explainsvc.weights import seed_sequence

NAME = "sensitivity_n"
MEAN = "mean_correlation"
LARGEST = 0.8
"""Share of the features in the largest set: Ancona et al. 2018 go to about 80 %."""
ROUNDING = 1e-12
"""Relative to Σ |map|: float64 sums of up to a million values."""


@dataclass(frozen=True)
class Params:
    """The sets, and what takes the place."""

    sizes: int = param(8, "int", "numbers n, from 1 to 80 % of the features", low=1)
    subsets: int = param(100, "int", "random sets for each n", low=3)
    window: Any = param((), "ints", WINDOW)
    baseline: Any = param("zero", "value", SUBSTITUTES)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The correlations of one method after the other."""
    known: dict[Hashable, Array] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p, known))


def _measured(subject: Subject, e: Explained, p: Params, known: dict[Hashable, Array]) -> Iterator[Measured]:
    request = flipping.request_of(subject, e)
    features = features_of(request, p.window)
    sizes = sizes_of(features.count, p.sizes)
    sets = _sets(features.count, sizes, p.subsets, subject.seed)
    key = flipping.same_target(request)
    if key not in known:
        known[key] = _drops(request, features, sets.reshape(-1, features.count), p).reshape(*sets.shape[:2], -1)
    scores = features.sums(e.result.values)
    found = [correlation(_sums(scores, chosen), drops.T) for chosen, drops in zip(sets, known[key], strict=True)]
    for step, (n, values) in enumerate(zip(sizes, found, strict=True), start=1):
        yield Measured(e.name, "correlation", values, "", step, f"n = {n}", n / features.count, missing(values))
    mean = _mean(np.stack(found))
    yield Measured(e.name, MEAN, mean, step=len(sizes), note=missing(mean))


def _sums(scores: Array, chosen: Array) -> Array:
    """Σ of the map over each set, [item, set]; sums that differ by rounding alone are equal."""
    sums = scores @ chosen.T
    level = np.abs(scores).sum(axis=1, keepdims=True)
    return np.where(np.ptp(sums, axis=1, keepdims=True) > ROUNDING * level, sums, sums[:, :1])


def _mean(found: Array) -> Array:
    """Over the n that have a correlation; NaN for an item without any."""
    known = ~np.isnan(found)
    total = np.where(known, found, 0).sum(axis=0)
    return np.asarray(np.divide(total, known.sum(axis=0), out=np.full(found.shape[1], np.nan), where=known.any(axis=0)))


def missing(values: Array) -> str:
    """In words, for how many items there is no correlation; "" for none."""
    lost = int(np.isnan(values).sum())
    return f"{lost} of {len(values)} inputs left out: all sums, or all drops, are equal" if lost else ""


def sizes_of(features: int, points: int) -> list[int]:
    """Different n, evenly in the logarithm."""
    last = max(1, round(LARGEST * features))
    return [int(n) for n in np.unique(np.round(np.geomspace(1, last, points)))]


def _sets(features: int, sizes: Sequence[int], subsets: int, seed: int) -> Array:
    """Bool [size, subset, feature]."""
    rng = np.random.default_rng(seed_sequence(seed, "sensitivity_n/sets"))
    places = rng.permuted(np.tile(np.arange(features, dtype=np.int32), (len(sizes), subsets, 1)), axis=2)
    return np.asarray(places < np.array(sizes)[:, None, None])


def _drops(request: Request, features: Features, sets: Array, p: Params) -> Array:
    """S(x) − S(x without the set), [set, item]."""
    others = substitutes(p.baseline, request)
    groups = maps.groups(request.model, request.feeds)
    return np.concatenate([_of(request, features, others, sets, group) for group in groups], axis=1)


def _of(request: Request, features: Features, others: Mapping[str, Any], sets: Array, group: slice) -> Array:
    part = maps.part_of(request, group)
    cut = {name: other.of(group) for name, other in others.items()}
    every = np.vstack([np.zeros((1, features.count), bool), sets])

    def without() -> Iterator[dict[str, Array]]:
        for chosen in every:
            gone = {n: np.broadcast_to(g, (len(cut[n].x), g.shape[1])) for n, g in features.spread(chosen[None]).items()}
            yield flipping.put(part, cut, gone)

    whole, *rest = flipping.values_of(part, without())
    return np.asarray(whole - np.stack(rest))


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean over all n against 0, which unrelated maps get."""
    return each_method(subject, rows, lambda _, own: _verdict(own))


def _verdict(own: Sequence[Row]) -> Verdict:
    ends = [row for row in own if row.measure == "correlation"]
    beside = ", ".join(f"{row.mean:.2f} for {row.unit}" for row in (ends[0], ends[-1]))
    return above(next(row for row in own if row.measure == MEAN), words=f"mean correlation over all n ({beside})")


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="Pass: the 95 % interval of the correlation, averaged over all n, lies above 0, which maps without relation to the "
    "model get; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs have a correlation. How far it is "
    "below 1 says how far the map is from Sensitivity-n, which only linear models let any map have for all n.",
    family="faithfulness",
    axis="share of the features in a set",
    main="correlation",
)
