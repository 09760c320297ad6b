"""complexity: How concise are the maps, next to numbers without content?

Computes: The entropy of the shares |φ_i| / Σ |φ|, in nats (Bhatt et al.); the Gini index of |φ| (sparseness, Chalasani et al.), 0
    for a uniform map and near 1 for one element alone; the effective complexity, the number of elements with
    |φ_i| > threshold · max |φ| (after Nguyen & Martinez).
Output: Rows (method, measure): ``entropy``, ``sparseness``, ``effective_complexity`` and ``effective_share`` of the elements.
Needs: Nothing; the model is not run. Five inputs or more for a verdict.
Cost: One sort per map.
Properties: None depends on the scale or the signs of a map. The entropy of E equal elements is ln E, their Gini index 0.
Limits: Says how easily a map is read, never whether it is right: the true explanation of a model that uses all of its input is
    complex, and one bright element in a wrong place is not.
Source: Bhatt et al. 2020, arXiv:2005.00631, definition of complexity; Chalasani et al. 2020, arXiv:1810.06583 (Gini index after
    Hurley & Rickard 2009); Nguyen & Martinez 2020, arXiv:2007.07584, effective complexity; the reference of the verdict: ours.
Differs: Nguyen & Martinez search the fewest features that predict the output; counting above a threshold is Quantus', but its
    threshold is a share of the largest value of the whole batch, which lets the other inputs decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks._controls import above
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "complexity"
NOISE = math.sqrt(2) - 1
"""The Gini index of |z| for normal z: E|X − Y| / (2 E X) of the half-normal distribution."""


@dataclass(frozen=True)
class Params:
    """What counts as an element that matters."""

    threshold: float = param(0.05, "float", "share of a map's largest magnitude above which an element counts", low=0, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The measures of one method after the other."""
    return method_by_method(NAME, subject, lambda e: _measured(e, p))


def _measured(e: Explained, p: Params) -> Iterator[Measured]:
    magnitudes = np.abs(e.maps.astype(np.float64))
    usable = np.isfinite(magnitudes).all(axis=1) & (magnitudes.sum(axis=1) > 0)
    lost = int((~usable).sum())
    note = f"{lost} of {len(usable)} inputs left out: a map of zeros, or NaN or infinity in a map" if lost else ""
    counts = effective_complexity(magnitudes[usable], p.threshold)
    measures = {
        "entropy": entropy(magnitudes[usable]),
        "sparseness": gini(magnitudes[usable]),
        "effective_complexity": counts,
        "effective_share": counts / magnitudes.shape[1],
    }
    for name, found in measures.items():
        values = np.full(len(usable), np.nan)
        values[usable] = found
        yield Measured(e.name, name, values, note=note)


def entropy(magnitudes: Array) -> Array:
    """−Σ P ln P of the shares P of magnitudes [item, element] (Bhatt et al. 2020)."""
    shares = magnitudes / magnitudes.sum(axis=1, keepdims=True)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logarithms).sum(axis=1))


def gini(magnitudes: Array) -> Array:
    """1 − 2 Σ_k v_(k)/‖v‖₁ · (d − k + ½)/d of rising magnitudes v (Chalasani et al. 2020; Hurley & Rickard 2009)."""
    rising = np.sort(magnitudes, axis=1)
    d = rising.shape[1]
    weights = (d - np.arange(1, d + 1) + 0.5) / d
    return np.asarray(1 - 2 * (rising * weights).sum(axis=1) / rising.sum(axis=1))


def effective_complexity(magnitudes: Array, threshold: float) -> Array:
    """Elements above a share of the largest."""
    return np.asarray((magnitudes > threshold * magnitudes.max(axis=1, keepdims=True)).sum(axis=1).astype(np.float64))


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The Gini index against that of normal noise."""
    return each_method(subject, rows, lambda e, own: _verdict({row.measure: row for row in own}, noise_of(e.maps.shape[1])))


def noise_of(elements: int) -> float:
    """The Gini index of that many normal numbers, about: no pair of an element with itself differs."""
    return round(NOISE * (1 - 1 / elements), 3)


def _verdict(own: Mapping[str, Row], limit: float) -> Verdict:
    count, share = own["effective_complexity"].mean, own["effective_share"].mean
    words = f"{count:.0f} elements ({share:.0%}) stand out, entropy {own['entropy'].mean:.2f} nats; Gini index"
    verdict = above(own["sparseness"], limit, words)
    return Verdict(verdict.word, verdict.reason + "; it tells how concise a map is, not whether it is right")


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="Pass: the 95 % interval of the Gini index of |map| lies above that of as many normal random numbers (0.414 for large "
    "maps): the map stresses few elements; fail: it lies there or below, the map is no more concise than noise; inconclusive: "
    "neither, or fewer than 5 inputs. A failure does not say that the map is wrong: a model that uses all of its input has no "
    "concise true explanation.",
    family="complexity",
    main="sparseness",
    work=lambda _model, _params: Work(explanations=0, forwards=0.1),
)
