"""efficient_mprt: Do the maps become more complex when all of the model's weights are replaced by random numbers?

Computes: The entropy H of the histogram of each map's values (equal bins between its least and largest value, natural
    logarithm) before and after all units are re-initialised, and its relative rise (H_after − H_before) / H_before.
Output: Rows (method, step, entropy) and (method, 1, relative_rise): mean, standard deviation, 95 % bootstrap interval and n over
    inputs; what the step did to the model's output, and the sha256 of the randomised model.
Needs: A model with learned tensors; five inputs or more for a verdict.
Cost: One explanation per method and input.
Properties: Compares no two maps, so that no similarity has to be chosen; a map that never looks at the model rises by 0.
Limits: A map may depend on the weights without becoming more complex: many networks' gradients have as many small values
    before as after. So a method that does not rise is not proven insensitive; parameter_randomization compares the maps.
Source: Hedström et al. 2024, arXiv:2401.06465, section 4 (eMPRT); verdict by interval: ours.
Differs: The paper ranks methods by the mean rise; here the interval decides, against the control random. A constant map, whose
    histogram says nothing, and a map of zero entropy count as missing (Quantus divides by zero).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import maps, verdicts
from explainsvc.checks._randomised import Draw, about_model, draws_of, seed_at
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, summary_row
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.similarity import degenerate, missing
from explainsvc.checks.statistics import LEAST_INPUTS
from explainsvc.model import Model
from explainsvc.randomisation import ALL_UNITS, all_random
from explainsvc.weights import replace_weights

NAME = "efficient_mprt"
RISE, ENTROPY = "relative_rise", "entropy"

RULE = (
    "After all units are re-initialised, pass: the lower end of the 95 % interval of the relative rise of entropy lies above "
    "the limit; fail: the upper end does not; inconclusive: neither, or fewer than 5 inputs have a rise. The limit is "
    "0, or the upper end of the control random (drawn anew: what chance gives) where that is higher. Constant maps and maps "
    "of zero entropy have no rise; they are left out of n and counted in the note. random itself is not judged."
)


@dataclass(frozen=True)
class Params(Draw):
    """How the weights are replaced, and the histogram."""

    bins: int = param(100, "int", "bins of the histogram", low=2, high=100_000)


def entropy(values: Array, bins: int) -> Array:
    """−Σ p ln p over the bins of each item's histogram; NaN where a map is constant or not finite."""
    lost = degenerate(values)
    found = np.full(len(values), np.nan)
    for item in np.flatnonzero(~lost):
        counts, _ = np.histogram(values[item].astype(np.float64), bins)
        share = counts[counts > 0] / counts.sum()
        found[item] = -(share * np.log(share)).sum()
    return found


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """What became of the model's output, then method by method the entropies of the maps before and after, and the rise."""
    draws = draws_of(subject, p)
    randomised = cache(lambda: replace_weights(subject.model, all_random(subject.model, draws)))
    yield from subject.once((NAME, MODEL), lambda: _of_model(subject, p, randomised()))
    for e in subject.explained:
        yield from subject.once((NAME, e.name), partial(_of_method, subject, p, randomised, e))


def _of_model(subject: Subject, p: Params, model: Model) -> Iterator[Row]:
    before = maps.value_of(subject.model, subject.feeds, subject.output)
    after = maps.value_of(model, subject.model.internal(subject.feeds), subject.output)
    return (_row(subject, p, m, 1) for m in about_model(subject, model.digest, before, after))


def _of_method(subject: Subject, p: Params, randomised: Callable[[], Model], e: Explained) -> Iterator[Row]:
    changed = maps.maps_of(e, randomised(), subject.model.internal(subject.feeds), seed_at(subject, e, 1))
    return (_row(subject, p, m, m.step) for m in _measured(e, changed, p.bins))


def _measured(e: Explained, changed: Array, bins: int) -> Iterator[Measured]:
    old, new = entropy(e.maps, bins), entropy(changed, bins)
    rise = np.divide(new - old, old, out=np.full(len(old), np.nan), where=old > 0)
    yield Measured(e.name, ENTROPY, old, step=0, note=missing(old, e.maps, e.maps))
    yield Measured(e.name, ENTROPY, new, step=1, note=missing(new, changed, changed))
    yield Measured(e.name, RISE, rise, step=1, note=missing(rise, e.maps, changed))


def _row(subject: Subject, p: Params, m: Measured, step: int) -> Row:
    return summary_row(NAME, replace(m, step=step, unit=ALL_UNITS if step else ""), subject.seed, p.resamples)


def judge(subject: Subject, _params: object, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """A verdict for each method that was asked for."""
    floor = next((row.high for row in rows if (row.method, row.measure) == (verdicts.FLOOR, RISE)), math.nan)
    limit = 0.0 if math.isnan(floor) else max(0.0, floor)
    found = each_method(subject, rows, lambda e, own: _verdict(e, [row for row in own if row.measure == RISE], limit))
    more = verdicts.remarks(subject, rows)
    return {name: replace(verdict, reason=verdict.reason + more) for name, verdict in found.items()}


def _verdict(e: Explained, rows: Sequence[Row], limit: float) -> Verdict:
    if e.name == verdicts.FLOOR:
        return Verdict("inconclusive", verdicts.NOT_JUDGED)
    (row,) = rows
    note = f" ({row.note})" if row.note else ""
    numbers = f"{row.measure} {row.mean:.3f} [{row.low:.3f}, {row.high:.3f}], n = {row.n}, limit {limit:.3f}{note}"
    if row.n < LEAST_INPUTS:
        return Verdict("inconclusive", f"{numbers}: {LEAST_INPUTS} inputs are needed")
    return Verdict("pass" if row.low > limit else "fail" if row.high <= limit else "inconclusive", numbers)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="randomization",
    controls=verdicts.CONTROLS,
    main=RISE,
    work=lambda _model, _params: Work(shared=1),
)
