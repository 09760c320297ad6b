"""Parameters with which a method is quick, for tests in which it only has to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explainsvc.errors import ExplainsvcError
from explainsvc.inspection import reachable_inputs, target_name
from explainsvc.methods import METHODS
from explainsvc.model import Model
from tests.models import Array

FEW: dict[str, Any] = {"samples": 24, "steps": 4, "batch_size": 32}
"""Of what a method repeats."""


def little(method: str, feeds: Mapping[str, Array], model: Model) -> dict[str, Any]:
    """A few repetitions; three rows of background data for the explained inputs where they are required."""
    names = {f.name for f in dataclasses.fields(METHODS[method].params)}
    chosen = {name: value for name, value in FEW.items() if name in names}
    required = any(p.name == "background" and p.description.startswith("required") for p in METHODS[method].card.parameters)
    batched, explained = model.batched(feeds), _explained(method, model)
    if method in ("kernel_shap", "exact_shap", "sampling_shap"):  # what they cost, or need at least, grows with the features
        chosen["feature_mask"] = {n: _groups(feeds[n], batched and model.leads_with_items(n)) for n in explained}
    if required:
        chosen["background"] = {n: _rows(feeds[n], batched and model.leads_with_items(n)) for n in explained}
    return chosen


def _explained(method: str, model: Model) -> Sequence[str]:
    try:
        return reachable_inputs(model, METHODS[method], target_name(model, METHODS[method], None)[0])
    except ExplainsvcError:  # the method will refuse for the same reason, whatever the background
        return [t.name for t in model.inputs]


def _rows(x: Array, items: bool) -> Array:
    shape = (3, *(x.shape[1:] if items else x.shape))
    return np.asarray(np.random.default_rng(0).standard_normal(shape).astype(x.dtype))


def _groups(x: Array, items: bool) -> Array:
    shape = x.shape[1:] if items else x.shape
    return np.arange(int(np.prod(shape))).reshape(shape) % 4
