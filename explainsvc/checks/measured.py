"""From numbers per item to the rows of a check, method by method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks.rows import REFUSED, Row
from explainsvc.checks.statistics import RESAMPLES, summarise_all
from explainsvc.errors import ExplainsvcError


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
    """The row of what was measured."""
    return summary_rows(check, [m], seed, resamples)[0]


def summary_rows(check: str, measured: Sequence[Measured], seed: int, resamples: int = RESAMPLES) -> list[Row]:
    """The rows of what is known at the same time, such as a curve: summed up together, a hundred take the time of ten."""
    found = summarise_all([m.values for m in measured], resamples, seed)
    return [
        Row(check, m.method, m.order, m.step, m.unit, m.measure, s.mean, s.std, s.low, s.high, s.n, m.note, m.amount)
        for m, s in zip(measured, found, strict=True)
    ]


def method_by_method(
    check: str, subject: Subject, measure: Callable[[Explained], Iterable[Measured | Sequence[Measured]]]
) -> Iterator[Row]:
    """The rows of a check that looks at one method at a time; one that cannot be measured does not end the others.

    Args:
        check: The check's name.
        subject: What is checked; its progress hears of each method.
        measure: What is measured of one method, as it is computed; what is known at the same time as one list.
    """
    total = len(subject.explained)
    for done, explained in enumerate(subject.explained):
        subject.progress(done, total, f"{check}: {explained.name}")
        try:
            for measured in measure(explained):
                yield from summary_rows(check, [measured] if isinstance(measured, Measured) else measured, subject.seed)
        except ExplainsvcError as error:
            yield refusal_row(check, explained.name, error)
    subject.progress(total, total, check)


def refusal_row(check: str, method: str, error: ExplainsvcError) -> Row:
    """A method that a check could not measure, and why."""
    return Row(check, method, "", 0, "", REFUSED, math.nan, math.nan, math.nan, math.nan, n=0, note=str(error))


def refusals(rows: Iterable[Row]) -> Mapping[str, str]:
    """Method → why it could not be measured."""
    return {row.method: row.note for row in rows if row.measure == REFUSED}
