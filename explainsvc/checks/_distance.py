"""How far maps are apart, relative to their own size: one number per item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Subject
from explainsvc.checks import maps
from explainsvc.checks.measured import Measured
from explainsvc.checks.similarity import missing, spearman
from explainsvc.model import Model

DIFFERENCE = "relative_difference"
DEVIATION = "output_deviation"
SAME_MAP = 0.01
"""Two float32 graphs of one function give maps within 1e-5; now and then one unit lies so close to its kink that rounding
decides its side, which moves single elements. Another rule or baseline moves the map by tenths of its norm."""


def norm(maps: Array) -> Array:
    """‖·‖₂ per item of [item, element], float64."""
    return np.asarray(np.sqrt(np.square(maps.astype(np.float64)).sum(axis=1)))


def share(part: Array, whole: Array) -> Array:
    """part/whole per item; 0 where both are 0, NaN where only the whole is."""
    exists = whole != 0
    found = np.divide(part, whole, out=np.full(part.shape, np.nan), where=exists)
    return np.where(exists | (part != 0), found, 0.0)


def relative_difference(before: Array, after: Array) -> Array:
    """‖R − R′‖/max(‖R‖, ‖R′‖) per item: 0 for equal maps, 1 where one is zero, 2 for opposite ones."""
    gap = norm(before.astype(np.float64) - after.astype(np.float64))
    return share(gap, np.maximum(norm(before), norm(after)))


def alike(method: str, before: Array, after: Array, unit: str = "", step: int = 0) -> Iterator[Measured]:
    """Relative difference and rank correlation of two batches of maps that should be equal."""
    yield Measured(method, DIFFERENCE, relative_difference(before, after), step=step, unit=unit)
    values = spearman(before, after)
    yield Measured(method, "spearman", values, step=step, unit=unit, note=missing(values, before, after))


def output_deviation(subject: Subject, other: Model, feeds: Mapping[str, Array]) -> Array:
    """Per item the largest difference of the output, of another model on other inputs, relative to its largest magnitude."""
    before = maps.value_of(subject.model, subject.feeds, subject.output)
    after = maps.value_of(other, feeds, subject.output)
    batched = subject.model.batched(subject.feeds)
    a, b = (v.astype(np.float64).reshape(len(v) if batched else 1, -1) for v in (before, after))
    return share(np.abs(a - b).max(axis=1), np.abs(a).max(axis=1))


def zero_note(values: Array, reason: str) -> str:
    """How many items have no measure, and why; "" where all have."""
    lost = int(np.isnan(values).sum())
    return f"{lost} of {len(values)} inputs left out: {reason}" if lost else ""
