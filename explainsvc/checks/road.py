"""road: Does accuracy fall when the most relevant pixels are removed without a trace, by noisy linear imputation?

Computes: 10 … 90 % of the pixels are removed, most relevant first (morf), least relevant first (lerf), and in a random order;
    each removed pixel becomes the weighted mean of its eight neighbours (1/6 direct, 1/12 diagonal; solved for all at once)
    plus noise. The arg-max's accuracy and the probability of the explained class after each.
Output: Rows (method, order, step, measure) by the share removed: ``confidence``, and ``accuracy`` where labels are given, else
    ``argmax_agreement`` with the untouched input; over all shares ``gain_over_random``: the mean confidence lost beyond what
    the random order loses (morf), or kept beyond it (lerf).
Needs: Pictures; five inputs or more for a verdict.
Cost: 3 × shares forwards per input and method, and as many sparse systems: 0.5 s for 90 % of 224 × 224 pixels.
Properties: Fills a plane of constant slope as it was; what is left of the removed pixels' shape tells less than a constant would.
    A uniform map gains exactly nothing.
Limits: No retraining: a model may still react to smooth patches. The noise is absolute, in units of the input.
Source: Rong et al. 2022, arXiv:2202.00449, the Noisy Linear Imputation; verdict against the paired random order: ours.
Differs: The signed map is ranked as it is, summed over channels (Quantus ends in an error where there are several). The noise
    is one draw for all shares and orders.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import _flipping as flipping
from explainsvc.checks._controls import above, broken_maps, without
from explainsvc.checks._features import features_of
from explainsvc.checks._probability import probability_of
from explainsvc.checks._substitutes import Substitute, substitutes
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.method import Request
from explainsvc.weights import seed_sequence

NAME = "road"
GAIN = "gain_over_random"
PERCENTAGES = tuple(range(10, 100, 10))
ORDERS = (flipping.MORF, flipping.LERF)


@dataclass(frozen=True)
class Params:
    """How much is removed, and the noise."""

    percentages: Any = param(PERCENTAGES, "ints", "shares of the pixels that are removed, in per cent, rising")
    noise: float = param(0.01, "float", "standard deviation of what is added to imputed pixels, in units of the input", low=0)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The curves of one method after the other."""
    if (
        not p.percentages
        or list(p.percentages) != sorted(set(p.percentages))
        or not 0 < min(p.percentages) <= p.percentages[-1] <= 100
    ):
        wrong = f"are {list(p.percentages)}, expected rising numbers above 0, 100 at most"
        raise InvalidParameter("the shares do not fit", violations=[Violation("parameters.percentages", wrong)])
    known: dict[Hashable, Array] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p, known))


def _measured(subject: Subject, e: Explained, p: Params, known: dict[Hashable, Array]) -> Iterator[Measured]:
    request = flipping.request_of(subject, e)
    features = features_of(request, (1,))
    counts = np.array([0, *(round(features.count * share / 100) for share in p.percentages)])
    others = {n: _noisy(s, n, request, p.noise) for n, s in substitutes("inpaint", request).items()}
    walk = flipping.Walk(request, features, others, counts, _reader(request))
    scores = features.sums(e.result.values)
    found, broken = flipping.with_random(walk, scores, ORDERS, known), broken_maps(scores)
    for order, curve in found.items():
        for step, share in enumerate(walk.shares):
            yield from (without(broken, replace(m, order=order, step=step, amount=float(share)))
                        for m in _at(e.name, curve[step], curve[0], subject.labels))  # fmt: skip
    kept = {order: curve[1:, :, 0].mean(axis=0) for order, curve in found.items()}
    for order, sign in zip(ORDERS, (-1, 1), strict=True):
        gain = sign * (kept[order] - kept[flipping.RANDOM])
        yield without(broken, Measured(e.name, GAIN, gain, order, len(counts) - 1))


def _noisy(substitute: Substitute, name: str, request: Request, noise: float) -> Substitute:
    rng = np.random.default_rng(seed_sequence(request.seed, f"road/{name}"))
    return replace(substitute, noise=noise * rng.standard_normal(substitute.x.shape))


def _reader(request: Request) -> Callable[[Request], Array]:
    """Confidence and arg-max, [row, 2]; NaN for the arg-max of a single number."""
    reading = probability_of(request)

    def read(varied: Request) -> Array:
        value = reading.value(varied)
        rows = value.reshape(len(value) if varied.batched else 1, -1)
        top = rows.argmax(axis=1) if rows.shape[1] > 1 else np.full(len(rows), np.nan)
        return np.stack([reading.number(varied, value), top.astype(np.float64)], axis=1)

    return read


def _at(method: str, now: Array, before: Array, labels: Array | None) -> Iterator[Measured]:
    yield Measured(method, "confidence", now[:, 0])
    name, expected = ("argmax_agreement", before[:, 1]) if labels is None else ("accuracy", labels)
    yield Measured(method, name, np.where(np.isnan(now[:, 1]), np.nan, now[:, 1] == expected))


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The gain of morf; that of lerf beside."""
    return each_method(subject, rows, lambda _, own: _verdict(own))


def _verdict(own: Sequence[Row]) -> Verdict:
    gains = {row.order: above(row, words="confidence gained over the random order") for row in own if row.measure == GAIN}
    return Verdict(gains[flipping.MORF].word, "; ".join(verdict.reason for verdict in gains.values()))


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="Pass: the 95 % interval of the mean confidence that the order morf takes away beyond the random order of the same "
    "input (paired) lies above 0; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs. "
    f"{flipping.TIES}",
    family="faithfulness",
    axis="share of the pixels removed",
    main="confidence",
    work=lambda _model, p: Work(explanations=0, forwards=2 * len(p.percentages)),
)
