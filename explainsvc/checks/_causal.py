"""Deletion and insertion (Petsiuk et al. 2018): one curve and its area, against the random order's."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject, Verdict
from explainsvc.checks import _flipping as flipping
from explainsvc.checks._controls import above, broken_maps, without
from explainsvc.checks._features import features_of
from explainsvc.checks._probability import probability_of
from explainsvc.checks._substitutes import substitutes
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

GAIN = "gain_over_random"


class CausalParams(Protocol):
    """What both checks have as parameters."""

    @property
    def steps(self) -> int:
        """Steps of equal size."""

    @property
    def window(self) -> tuple[int, ...]:
        """What is changed together."""

    @property
    def baseline(self) -> object:
        """What takes the place."""


def rows(check: str, subject: Subject, p: CausalParams, inserting: bool) -> Iterator[Row]:
    """The curve of one method after the other."""
    known: dict[Hashable, Array] = {}
    return method_by_method(check, subject, lambda e: _measured(subject, e, p, inserting, known))


def _measured(
    subject: Subject, e: Explained, p: CausalParams, inserting: bool, known: dict[Hashable, Array]
) -> Iterator[list[Measured]]:
    request = flipping.request_of(subject, e)
    features, reading = features_of(request, p.window), probability_of(request)
    counts, others = flipping.evenly(features.count, p.steps), substitutes(p.baseline, request)
    walk = flipping.Walk(request, features, others, counts, reading, inserting)
    scores, last = features.sums(e.result.values), len(counts) - 1
    broken = broken_maps(scores)
    found = flipping.with_random(walk, scores, (flipping.MORF,), known)
    areas = {order: auc(curve, walk.shares) for order, curve in found.items()}
    gain = (areas[flipping.MORF] - areas[flipping.RANDOM]) * (1 if inserting else -1)
    measured = [
        Measured(e.name, "output", curve[step], order, step, amount=float(share))
        for order, curve in found.items()
        for step, share in enumerate(walk.shares)
    ]
    measured += [Measured(e.name, "auc", area, order, last) for order, area in areas.items()]
    measured.append(Measured(e.name, GAIN, gain, flipping.MORF, last))
    yield [without(broken, replace(m, note=reading.words)) for m in measured]


def auc(curve: Array, shares: Array) -> Array:
    """The area below a curve [step, item] by trapezoids, as a mean over the share from 0 to 1."""
    return np.asarray(np.trapezoid(curve, shares, axis=0) / (shares[-1] - shares[0]))


def judge(subject: Subject, _params: object, found: Sequence[Row]) -> Mapping[str, Verdict]:
    """The gain over the random order, with the two areas."""
    return each_method(subject, found, lambda _, own: _verdict(own))


def _verdict(own: Sequence[Row]) -> Verdict:
    area = next(row for row in own if (row.measure, row.order) == ("auc", flipping.MORF))
    return above(next(row for row in own if row.measure == GAIN), words=f"AUC {area.mean:.3g}; gained over the random order")
