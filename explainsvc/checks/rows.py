"""One row of a check: one method, one step, one similarity, summarised over the inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATISTICS = ("mean", "std", "low", "high")
"""The float fields; NaN (a constant map has no rank correlation) is written to JSON as null."""


@dataclass(frozen=True)
class Row:
    """Similarity of a method's maps at one step to those of the untouched model.

    ``step`` 0 is the untouched model and ``unit`` names what was re-initialised at this step; ``low`` and
    ``high`` are the 95 % bootstrap interval of the mean; ``n`` counts the inputs the similarity exists for.
    """

    check: str
    method: str
    order: str
    step: int
    unit: str
    similarity: str
    mean: float
    std: float
    low: float
    high: float
    n: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dict; NaN becomes None, because JSON has no NaN."""
        fields = dataclasses.asdict(self)
        return fields | {name: _null_for_nan(fields[name]) for name in STATISTICS}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Row:
        """The row that ``to_json`` wrote; unknown keys are refused by the constructor."""
        return cls(**{**fields, **{name: _nan_for_null(fields[name]) for name in STATISTICS}})


def _null_for_nan(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else float(value)
