"""Verdicts against a control: is a measure better than what a map that knows nothing gets?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Verdict
from explainsvc.checks.measured import Measured
from explainsvc.checks.rows import Row
from explainsvc.checks.statistics import LEAST_INPUTS, inputs_needed


def above(row: Row, limit: float = 0.0, words: str = "") -> Verdict:
    """Pass: the whole 95 % interval of the mean lies above the limit; fail: at it or below, as a map without content does."""
    return _judged(row, limit, words, row.low > limit, row.high <= limit)


def below(row: Row, limit: float, words: str = "") -> Verdict:
    """Pass: the whole 95 % interval of the mean lies below the limit; fail: at it or above."""
    return _judged(row, limit, words, row.high < limit, row.low >= limit)


def _judged(row: Row, limit: float, words: str, holds: bool, broken: bool) -> Verdict:
    note = f" ({row.note})" if row.note else ""
    order = f" ({row.order})" if row.order else ""
    numbers = f"{words or row.measure}{order} {row.mean:.3g} [{row.low:.3g}, {row.high:.3g}], n = {row.n}, limit {limit:g}{note}"
    if row.n < LEAST_INPUTS:
        return Verdict("inconclusive", f"{numbers}: {LEAST_INPUTS} inputs are needed")
    if holds or broken:
        return Verdict("pass" if holds else "fail", numbers)
    needed = inputs_needed(row.mean, row.std, limit)
    more = "" if needed is None else f": about {max(needed, row.n + 1)} inputs would decide it"
    return Verdict("inconclusive", numbers + more)


def broken_maps(scores: Array) -> Array:
    """Which items have a map with NaN or infinity, [item]: nothing can be ranked there."""
    return np.asarray(~np.isfinite(scores).all(axis=1))


def without(broken: Array, measured: Measured) -> Measured:
    """The measure without the broken items, which its note counts."""
    if not broken.any():
        return measured
    words = f"{int(broken.sum())} of {len(broken)} inputs left out: NaN or infinity in a map"
    note = f"{measured.note}; {words}" if measured.note else words
    return replace(measured, values=np.where(broken, np.nan, measured.values), note=note)
