"""Verdicts of a randomisation check: is the method sensitive to the weights?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from explainsvc.check import Explained, Subject, Verdict, Word
from explainsvc.checks._spectra import looks_learned, traces_of
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.similarity import JUDGED
from explainsvc.checks.statistics import LEAST_INPUTS, inputs_needed
from explainsvc.weights import coverage, parameter_units

LIMIT = 0.5
"""A similarity above it says that the order of the elements is mostly the same as before."""
SAME = 0.999
"""Step 0 compares a model with itself; less than this is not rounding."""
COMPLETE = 0.99
"""Share of the weights in units; less is said beside the verdict, because full randomisation was not full."""
FLOOR, CEILING = "random", "sobel"
CONTROLS = (FLOOR, CEILING)
NOT_JUDGED = "a control, not judged: drawn anew at every step, whatever the weights are"

UNTAUGHT = (
    "; but the model's own weights are like random numbers (see the check learned): that maps change with them does not make the "
    "maps tell of anything learned"
)

RULE = (
    "After all units are re-initialised, insensitive: the lower end of the 95 % interval of the similarity lies above "
    "the limit; sensitive: the upper end lies below it; inconclusive: neither, or fewer than 5 inputs have a "
    "similarity, or step 0 (untouched weights) is not 1. The limit is 0.5, or the upper end of the control random "
    "(drawn anew at every step: what unrelated maps give) where that is higher. Spearman's correlation of |map| and "
    "of the signed map are judged where they were asked for, and the worse verdict counts; the other similarities are "
    "reported beside them: what they give for unrelated maps differs from map to map. The control sobel never looks at "
    "the model and stays at 1; a method whose interval reaches "
    "it is said to be no more sensitive than an edge detector. Constant maps have no similarity; they are left out "
    "of n and counted in the note. random itself is not judged: it changes because it is drawn anew, not because "
    "the weights changed."
)


def judge(subject: Subject, _params: object, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """A verdict for each method that was asked for."""
    last = max((row.step for row in rows), default=0)
    end = {(row.method, row.measure): row for row in rows if row.step == last}
    start = {(row.method, row.measure): row for row in rows if row.step == 0}
    found = {e.name: _verdict(e, start, end) for e in subject.explained if e.asked}
    more = remarks(subject, rows)
    return {name: replace(verdict, reason=verdict.reason + more) for name, verdict in found.items()}


def remarks(subject: Subject, rows: Sequence[Row]) -> str:
    """What a reader must know of the model before a verdict about randomising it means what it says; "" where nothing."""
    return left_out(subject) + untaught(subject, rows)


def untaught(subject: Subject, rows: Sequence[Row]) -> str:
    """In words, that the weights look as they do before training; "" where they do not, or where randomising costs accuracy."""
    accuracy = {row.step: row for row in rows if (row.method, row.measure) == (MODEL, "accuracy")}
    if 0 in accuracy and accuracy[0].low > accuracy[max(accuracy)].high:
        return ""
    traces = traces_of(subject.model, subject.seed)
    nothing = traces and looks_learned(min(t.p_value for t in traces), min(t.share for t in traces)) is False
    return UNTAUGHT if nothing else ""


def left_out(subject: Subject) -> str:
    """In words, that full randomisation was not full; "" where it was."""
    share = coverage(subject.model, parameter_units(subject.model))
    return f"; only {share:.0%} of the float weights belong to a unit, the rest was kept" if share < COMPLETE else ""


Ends = Mapping[tuple[str, str], Row]


def _verdict(explained: Explained, start: Ends, end: Ends) -> Verdict:
    if explained.name == FLOOR:
        return Verdict("inconclusive", NOT_JUDGED)
    own = [end[explained.name, s] for s in JUDGED if (explained.name, s) in end]
    if not own:
        return Verdict("inconclusive", f"none of {', '.join(JUDGED)} was asked for")
    unlike = [row for row in own if start[explained.name, row.measure].mean < SAME]
    if unlike:
        row = start[explained.name, unlike[0].measure]
        return Verdict("inconclusive", f"not repeatable: {row.measure} of untouched weights is {row.mean:.3f}, not 1")
    judged = [_judged(row, limit_of(row.measure, end)) for row in own]
    words = [word for word, _ in judged]
    word = next(w for w in _WORST_FIRST if w in words)
    # the sentences that led to the word, then the others
    reasons = [r for w, r in judged if w == word] + [r for w, r in judged if w != word]
    return Verdict(word, "; ".join(reasons) + _edge_detector(own, end))


_WORST_FIRST: tuple[Word, ...] = ("insensitive", "inconclusive", "sensitive")


def limit_of(similarity: str, end: Ends) -> float:
    """0.5, or the upper end of what unrelated maps give."""
    floor = end.get((FLOOR, similarity))
    return LIMIT if floor is None or math.isnan(floor.high) else max(LIMIT, floor.high)


def _judged(row: Row, limit: float) -> tuple[Word, str]:
    numbers = f"{row.measure} {row.mean:.2f} [{row.low:.2f}, {row.high:.2f}], n = {row.n}, limit {limit:.2f}"
    note = f" ({row.note})" if row.note else ""
    if row.n < LEAST_INPUTS:
        mean = "" if row.n == 0 else f"{row.mean:.2f} "
        return "inconclusive", f"{row.measure} {mean}exists for {row.n} inputs{note}, {LEAST_INPUTS} are needed"
    if row.low > limit:
        return "insensitive", numbers + note
    if row.high < limit:
        return "sensitive", numbers + note
    needed = inputs_needed(row.mean, row.std, limit)
    more = "the mean is at the limit" if needed is None else f"about {max(needed, row.n + 1)} inputs would decide it"
    return "inconclusive", f"{numbers}{note}: {more}"


def _edge_detector(own: Sequence[Row], end: Ends) -> str:
    pairs = [(row, end[CEILING, row.measure]) for row in own if (CEILING, row.measure) in end]
    reached = any(row.high >= ceiling.low for row, ceiling in pairs if row.method != CEILING)
    return "; no more sensitive than sobel, an edge detector" if reached else ""
