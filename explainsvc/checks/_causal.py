"""Deletion and insertion (Petsiuk et al. 2018): one curve and its area, against the random order's."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import Card, param
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import _flipping as flipping
from explainsvc.checks._controls import above, broken_maps, without
from explainsvc.checks._features import WINDOW, features_of
from explainsvc.checks._probability import probability_of
from explainsvc.checks._substitutes import SUBSTITUTES, substitutes
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

GAIN = "gain_over_random"


@dataclass(frozen=True)
class Causal:
    """The steps, and what takes the place."""

    steps: int = param(20, "int", "steps of equal size", low=1)
    window: Any = param((), "ints", WINDOW)
    baseline: Any = param("zero", "value", SUBSTITUTES)


def check_of(card: Card, params: type[Causal], inserting: bool) -> Check:
    """Deletion, or insertion: the same curve from the one end or the other."""
    gained, axis = ("gains", "put back") if inserting else ("saves", "deleted")
    return Check(
        card,
        params,
        run=partial(_rows, card.name, inserting),
        judge=judge,
        rule=f"Pass: the 95 % interval of the AUC that the map's order {gained} against the random order of the same input "
        f"(paired) lies above 0; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs. {flipping.TIES}",
        family="faithfulness",
        axis=f"share of the features {axis}",
        main="output",
        work=lambda _model, p: Work(explanations=0, forwards=p.steps),
    )


def _rows(check: str, inserting: bool, subject: Subject, p: Causal) -> Iterator[Row]:
    """The curve of one method after the other."""
    known: dict[Hashable, Array] = {}
    return method_by_method(check, subject, lambda e: _measured(subject, e, p, inserting, known))


def _measured(
    subject: Subject, e: Explained, p: Causal, inserting: bool, known: dict[Hashable, Array]
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
