"""pixel_flipping: Does the output fall faster when the features that a map ranks first are replaced first?

Computes: Features are replaced in the order of the map, largest value first (morf) or smallest first (lerf), and in a
    random order beside; S after each step, and relative to S(x). Per order the AOPC, 1/(L+1) Σ_k (S(x) − S(x_k)) over the
    steps k = 0 … L, and how much that is better than the random order's; with both orders the area between them.
Output: Rows (method, order, step, measure): ``output`` and ``relative_output`` by the share replaced; ``aopc``,
    ``gain_over_random`` (above 0: better) and ``lerf_minus_morf`` per order, in units of S.
Needs: Nothing of the model; five inputs or more for a verdict.
Cost: (orders + 1) × steps forwards per input and method; methods with the same target share the random order.
Properties: For a linear model and a fixed substitute x′, ranking by w·(x − x′) has the largest AOPC of all orders. A uniform map
    gains exactly nothing, so it fails, though it may be conservative and continuous.
Limits: Inputs with parts replaced lie off the data; what is found depends on the substitute and on the size of the steps (Rong
    et al. 2022, arXiv:2202.00449). The gain says nothing of the values' scale.
Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140, section "Pixel-flipping"; Samek et al. 2017, arXiv:1509.06321,
    equation 12 (AOPC); verdict against the paired random order: ours.
Differs: The signed map is ranked as it is, neither normalised nor made absolute (Quantus does both by default); a pixel is
    all its channels. Ties follow seeded random numbers, not the position in memory.
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
from explainsvc.checks._controls import above, broken_maps, without
from explainsvc.checks._features import WINDOW, features_of
from explainsvc.checks._substitutes import SUBSTITUTES, substitutes
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "pixel_flipping"
GAIN = "gain_over_random"
BOTH = (flipping.MORF, flipping.LERF)


@dataclass(frozen=True)
class Params:
    """The order, the steps, and what takes the place."""

    order: str = param("both", "str", "morf: largest value first; lerf: smallest first; or both", choices=(*BOTH, "both"))
    steps: int = param(20, "int", "steps of equal size", low=1)
    step_size: int = param(0, "int", "features per step; 0: as many as make that many steps", low=0)
    share: float = param(1.0, "float", "share of the features that is replaced in the end", low=0.001, high=1)
    window: Any = param((), "ints", WINDOW)
    baseline: Any = param("mean", "value", SUBSTITUTES)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The curves of one method after the other."""
    known: dict[Hashable, Array] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p, known))


def _measured(subject: Subject, e: Explained, p: Params, known: dict[Hashable, Array]) -> Iterator[list[Measured]]:
    request = flipping.request_of(subject, e)
    features = features_of(request, p.window)
    counts = flipping.evenly(features.count, p.steps, p.step_size, p.share)
    walk = flipping.Walk(request, features, substitutes(p.baseline, request), counts)
    scores = features.sums(e.result.values)
    found = flipping.with_random(walk, scores, BOTH if p.order == "both" else (p.order,), known)
    broken = broken_maps(scores)
    measured = [m for order, curve in found.items() for m in _curve(e.name, order, curve, walk.shares)]
    yield [without(broken, m) for m in (*measured, *_areas(e.name, found, len(counts) - 1))]


def _curve(method: str, order: str, curve: Array, shares: Array) -> Iterator[Measured]:
    start = curve[0]
    positive = start > 0
    lost = int((~positive).sum())
    note = f"{lost} of {len(start)} inputs left out: S(x) is not positive" if lost else ""
    relative = np.divide(curve, start, out=np.full(curve.shape, np.nan), where=np.broadcast_to(positive, curve.shape))
    for step, share in enumerate(shares):
        yield Measured(method, "output", curve[step], order, step, amount=float(share))
        yield Measured(method, "relative_output", relative[step], order, step, amount=float(share), note=note)


def _areas(method: str, found: Mapping[str, Array], last: int) -> Iterator[Measured]:
    """Samek et al. 2017, equation 12, and the differences that are judged."""
    areas = {order: aopc(curve) for order, curve in found.items()}
    for order, area in areas.items():
        yield Measured(method, "aopc", area, order, last)
    for order, sign in zip(BOTH, (1, -1), strict=True):
        if order in areas:
            yield Measured(method, GAIN, sign * (areas[order] - areas[flipping.RANDOM]), order, last)
    if all(order in areas for order in BOTH):
        yield Measured(method, "lerf_minus_morf", areas[flipping.MORF] - areas[flipping.LERF], "both", last)


def aopc(curve: Array) -> Array:
    """1/(L+1) Σ_k (S(x) − S(x_k)) over the steps k = 0 … L of a curve [step, item]."""
    return np.asarray((curve[:1] - curve).mean(axis=0))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The gain of morf, or of lerf where only that was asked for."""
    decisive = flipping.LERF if p.order == flipping.LERF else flipping.MORF
    return each_method(subject, rows, lambda _, own: _verdict(own, decisive))


def _verdict(rows: Sequence[Row], decisive: str) -> Verdict:
    gains = {row.order: above(row, words="AOPC gained over the random order") for row in rows if row.measure == GAIN}
    rest = [verdict.reason for order, verdict in gains.items() if order != decisive]
    return Verdict(gains[decisive].word, "; ".join([gains[decisive].reason, *rest]))


RULE = (
    "Pass: the 95 % interval of the AOPC that the order morf gains over the random order of the same input (paired) lies above "
    "0; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs. With order=lerf the gain of lerf counts, "
    f"where the output must fall later than in the random order. {flipping.TIES}"
)

CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="faithfulness",
    axis="share of the features replaced",
    main="output",
)
