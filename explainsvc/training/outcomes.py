"""What retrainings tell of estimators: rows, and verdicts against random ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Verdict
from explainsvc.checks.measured import Measured, summary_row, summary_rows
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.statistics import LEAST_INPUTS, TAILS
from explainsvc.training.design import NAME, RANDOM, Design
from explainsvc.training.removal import REMOVE, Removal
from explainsvc.training.retraining import UNMODIFIED, Outcome

ACCURACY, GAIN, GUESSING = "accuracy", "gain_over_random", "guessing"
NOT_RETRAINED = " without retraining"
RULE = (
    "Of the first order asked for. gain_over_random is the mean over the shares above 0 of the difference to the test accuracy "
    "with random ranks, retraining by retraining: how much lower it is for roar, how much higher for kar. Pass: the whole "
    f"{TAILS[1] - TAILS[0]:g} % interval of its mean lies above 0; fail: at 0 or below; inconclusive: neither, or fewer than "
    f"{LEAST_INPUTS} retrainings of each share, or a model that does no better on untouched inputs than the commonest label. The "
    "controls random and sobel are not judged."
)


@dataclass(frozen=True)
class Found:
    """Outcomes so far.

    Attributes:
        design: What was asked for.
        known: Key of a job → its outcome.
        refused: Estimator → why it has no ranks.
        guessing: The share of the commonest label in the test set.
    """

    design: Design
    known: Mapping[str, Outcome]
    refused: Mapping[str, str]
    guessing: float

    def untouched(self) -> Array:
        """Test accuracy of the models trained on untouched inputs, [repetition]."""
        return np.array([self._of(UNMODIFIED, repetition) for repetition in range(self.design.repetitions)])

    def curve(self, estimator: int, order: str, retrained: bool) -> Array:
        """Test accuracy, [share, repetition]; NaN where there is none."""
        removals = [Removal(estimator, order, share) for share in self.design.shares]
        own = [
            [self._of(removal.key, k) if retrained else self._deleted(removal.key, k) for k in range(self.design.repetitions)]
            for removal in removals
        ]
        return np.array([self.untouched() if r.share == 0 else row for r, row in zip(removals, own, strict=True)])

    def _of(self, key: str, repetition: int) -> float:
        outcome = self.known.get(f"{key}-{repetition}")
        return math.nan if outcome is None else outcome.accuracy

    def _deleted(self, key: str, repetition: int) -> float:
        outcome = self.known.get(f"{UNMODIFIED}-{repetition}")
        return math.nan if outcome is None else outcome.deleted.get(key, math.nan)


def rows_of(found: Found) -> list[Row]:
    """Of the untouched model, then of every estimator that has ranks."""
    about_model = [
        Measured(MODEL, ACCURACY, found.untouched(), note="untouched inputs, over the retrainings"),
        Measured(MODEL, GUESSING, np.array([found.guessing]), note="the commonest label's share of the test set"),
    ]
    rows = summary_rows(NAME, about_model, found.design.seed)
    for number, estimator in enumerate(found.design.everyone):
        if estimator.name not in found.refused:
            rows += summary_rows(NAME, list(_measured(found, number, estimator.name)), found.design.seed)
    return rows


def _measured(found: Found, number: int, name: str) -> Iterator[Measured]:
    for order in found.design.orders:
        for retrained in (True, False):
            word = order if retrained else order + NOT_RETRAINED
            curve = found.curve(number, order, retrained)
            for step, (share, values) in enumerate(zip(found.design.shares, curve, strict=True)):
                note = _missing(found, Removal(number, order, share), values)
                yield Measured(name, ACCURACY, values, word, step, amount=share, note=note)
            if name != RANDOM.name:
                yield Measured(name, GAIN, gain(found, number, order, retrained), word)


def gain(found: Found, number: int, order: str, retrained: bool = True) -> Array:
    """The advantage over random ranks, mean over the shares above 0, [repetition]."""
    changed = np.array(found.design.shares) > 0
    lower = found.curve(found.design.random, order, retrained)[changed] - found.curve(number, order, retrained)[changed]
    return np.asarray((lower if order == REMOVE else -lower).mean(axis=0))


def _missing(found: Found, removal: Removal, values: Array) -> str:
    """Why some retrainings have no accuracy; "" where all have."""
    lost = int(np.isnan(values).sum())
    if not lost:
        return ""
    key = UNMODIFIED if removal.share == 0 else removal.key
    ended = [found.known[f"{key}-{k}"].note for k in range(len(values)) if f"{key}-{k}" in found.known]
    notes = dict.fromkeys(note for note in ended if note)
    return f"{lost} of {len(values)} retrainings left out: {'; '.join(notes) or 'not finished'}"


# Verdicts ---------------------------------------------------------------------------------------------------------


def verdicts_of(found: Found) -> dict[str, Verdict]:
    """One for each estimator that was asked for."""
    return {e.name: _verdict(found, number, e.name) for number, e in enumerate(found.design.estimators)}


def _verdict(found: Found, number: int, name: str) -> Verdict:
    if name in found.refused:
        return Verdict("inconclusive", f"could not be run: {found.refused[name]}")
    if name == RANDOM.name:
        return Verdict("inconclusive", "a control, not judged: the others are compared with it")
    order, seed = found.design.orders[0], found.design.seed
    untouched = summary_row(NAME, Measured(MODEL, ACCURACY, found.untouched()), seed)
    row = summary_row(NAME, Measured(name, GAIN, gain(found, number, order)), seed)
    words = f"{GAIN} ({order}) {row.mean:.3f} [{row.low:.3f}, {row.high:.3f}], n = {row.n} retrainings"
    if not untouched.mean > found.guessing:
        numbers = f"accuracy {untouched.mean:.3f} on untouched inputs, the commonest label has {found.guessing:.3f}"
        return Verdict("inconclusive", f"nothing was learned: {numbers}")
    if row.n < LEAST_INPUTS:
        return Verdict("inconclusive", f"{words}: {LEAST_INPUTS} are needed{_first_note(found, number, order)}")
    if row.low > 0:
        return Verdict("pass", words)
    return Verdict("fail" if row.high <= 0 else "inconclusive", words)


def _first_note(found: Found, number: int, order: str) -> str:
    """Why retrainings are missing, at the first share where some are, of the estimator or of random."""
    for each in (number, found.design.random):
        curve = found.curve(each, order, retrained=True)
        for share, values in zip(found.design.shares, curve, strict=True):
            if note := _missing(found, Removal(each, order, share), values):
                return f"; {note}"
    return ""
