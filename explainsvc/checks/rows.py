"""One row of a check: one method, one step, one measure, summarised over the inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATISTICS = ("mean", "std", "low", "high", "amount")
"""The float fields; NaN (a constant map has no rank correlation) is written to JSON as null."""
MODEL = "model"
"""Stands in the column "method" of the rows about the model's own output."""
DIGEST = "sha256"
"""The measure of a row whose note is the digest of a step's model: that of its ONNX file."""
REFUSED = "refused"
"""The measure of a row that says why a method could not be measured."""


@dataclass(frozen=True)
class Row:
    """A measure of a method at one step of a check.

    Attributes:
        check: The check's name.
        method: The method's name, or "model" for the model's own output.
        order: In which order things were changed: ``cascading``, ``morf``; "" where a check has no order.
        step: 0 is the untouched model or input.
        unit: What this step changed or looked at: a parameter unit, a node, a rewriting of the graph; "" at step 0.
        measure: What was measured, such as ``spearman_abs`` or ``output``.
        mean: Over the inputs; NaN where the measure does not exist.
        std: Sample standard deviation over the inputs.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end.
        n: Inputs for which the measure exists.
        note: Why a value does not exist, or another remark.
        amount: How much was changed, as the place on the axis of a figure (a share, a σ, a count); NaN without one.
    """

    check: str
    method: str
    order: str
    step: int
    unit: str
    measure: str
    mean: float
    std: float
    low: float
    high: float
    n: int
    note: str = ""
    amount: float = math.nan

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
