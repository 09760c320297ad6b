"""From numbers per item to the rows of a check, method by method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks.rows import REFUSED, Row
from explainsvc.checks.statistics import RESAMPLES, summarise
from explainsvc.errors import ExplainsvcError
from explainsvc.weights import seed_sequence


@dataclass(frozen=True)
class Measured:
    """A measure of one method, one number per item (NaN where it does not exist); the fields are those of Row."""

    method: str
    measure: str
    values: Array = field(repr=False)
    order: str = ""
    step: int = 0
    unit: str = ""
    amount: float = math.nan
    note: str = ""


def summary_row(check: str, m: Measured, seed: int, resamples: int = RESAMPLES) -> Row:
    """The row of what was measured; each has random numbers of its own for the bootstrap."""
    key = "/".join(["bootstrap", m.method, *filter(None, [m.order]), str(m.step), m.measure])
    s = summarise(m.values, resamples, np.random.default_rng(seed_sequence(seed, key)))
    return Row(check, m.method, m.order, m.step, m.unit, m.measure, s.mean, s.std, s.low, s.high, s.n, m.note, m.amount)


def method_by_method(check: str, subject: Subject, measure: Callable[[Explained], Iterable[Measured]]) -> Iterator[Row]:
    """The rows of a check that looks at one method at a time; one that cannot be measured does not end the others.

    Args:
        check: The check's name.
        subject: What is checked; each method is a part.
        measure: What is measured of one method, as it is computed. What it keeps for later methods, it must be able to
            compute at any of them: earlier ones may be finished.
    """
    for explained in subject.explained:
        yield from subject.once((check, explained.name), partial(_rows, check, subject, measure, explained))


def _rows(check: str, subject: Subject, measure: Callable[[Explained], Iterable[Measured]], e: Explained) -> Iterator[Row]:
    try:
        for measured in measure(e):
            yield summary_row(check, measured, subject.seed)
    except ExplainsvcError as error:
        yield refusal_row(check, e.name, error)


def is_first(subject: Subject, e: Explained) -> bool:
    """Whether no earlier method explains the same inputs: it is the one whose part says what they have in common."""
    return next(other for other in subject.explained if other.wanted == e.wanted) is e


def refusal_row(check: str, method: str, error: ExplainsvcError) -> Row:
    """A method that a check could not measure, and why."""
    return Row(check, method, "", 0, "", REFUSED, math.nan, math.nan, math.nan, math.nan, n=0, note=str(error))


def refusals(rows: Iterable[Row]) -> Mapping[str, str]:
    """Method → why it could not be measured."""
    return {row.method: row.note for row in rows if row.measure == REFUSED}
