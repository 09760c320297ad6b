"""Parameters with which a method is quick, for tests in which it only has to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainsvc.methods import METHODS
from tests.models import Array

FEW: dict[str, Any] = {"samples": 24, "steps": 4, "batch_size": 32}
"""Of what a method repeats."""


def little(method: str, feeds: Mapping[str, Array]) -> dict[str, Any]:
    """A few repetitions; three rows of background data for the float inputs where the card says that it needs them."""
    names = {f.name for f in dataclasses.fields(METHODS[method].params)}
    chosen = {name: value for name, value in FEW.items() if name in names}
    if "background" in names and "background" in METHODS[method].card.needs.lower():
        explained = {n: a for n, a in feeds.items() if a.dtype.kind == "f"} or feeds
        rng = np.random.default_rng(0)
        chosen["background"] = {n: rng.standard_normal((3, *a.shape[1:])).astype(a.dtype) for n, a in explained.items()}
    return chosen
