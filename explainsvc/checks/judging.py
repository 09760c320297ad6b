"""Verdicts pass and fail: a measure's interval against a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from explainsvc.check import Explained, Subject, Verdict, Word
from explainsvc.checks.rows import Row
from explainsvc.checks.statistics import LEAST_INPUTS

WORST_FIRST: tuple[Word, ...] = ("fail", "inconclusive", "pass")


def each_method(
    subject: Subject, rows: Sequence[Row], verdict: Callable[[Explained, Sequence[Row]], Verdict]
) -> Mapping[str, Verdict]:
    """A verdict for each method that was asked for, from its own rows."""
    nothing = Verdict("inconclusive", "nothing was measured")
    own = [(e, [row for row in rows if row.method == e.name]) for e in subject.explained if e.asked]
    return {e.name: verdict(e, found) if found else nothing for e, found in own}


def at_most(row: Row, limit: float, least: int = LEAST_INPUTS) -> Verdict:
    """Pass: the whole 95 % interval of the mean lies at or below the limit; fail: above it."""
    return _judged(row, limit, least, "≤", row.high <= limit, row.low > limit)


def at_least(row: Row, limit: float, least: int = LEAST_INPUTS) -> Verdict:
    """Pass: the whole 95 % interval of the mean lies at or above the limit; fail: below it."""
    return _judged(row, limit, least, "≥", row.low >= limit, row.high < limit)


def _judged(row: Row, limit: float, least: int, sign: str, holds: bool, broken: bool) -> Verdict:
    note = f" ({row.note})" if row.note else ""
    where = f" at {row.unit}" if row.unit else ""
    numbers = f"{row.measure}{where} {row.mean:.3g} [{row.low:.3g}, {row.high:.3g}], n = {row.n}, limit {sign} {limit:g}{note}"
    if row.n < least:
        return Verdict("inconclusive", f"{numbers}: {least} inputs are needed")
    return Verdict("pass" if holds else "fail" if broken else "inconclusive", numbers)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst word, with the sentences that led to it."""
    word = next(w for w in WORST_FIRST if any(v.word == w for v in verdicts))
    return Verdict(word, "; ".join(v.reason for v in verdicts if v.word == word))
