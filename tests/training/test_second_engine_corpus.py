"""The second engine on models that other people exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import explainsvc
from explainsvc.autograd.shapes import Array
from explainsvc.errors import ExplainsvcError
from tests.test_corpus import FOLDERS, case, folders

pytestmark = [pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout"), pytest.mark.slow]

NUDGE = 1e-3
"""Times an input's own standard deviation: another input, which has its own units at their kinks."""
BRANCHING = "silero-vad-v5"
"""Has an If, which has no torch converter."""
GOOD = [folder for folder in FOLDERS if not folder.name.startswith("neg-")]


@folders(GOOD)
def test_torch_finds_the_same_gradients(folder: Path) -> None:
    """To 1e-4 of the largest element in float64, or as far apart as torch is from itself; or the refusal says why."""
    model = explainsvc.load(folder / "model.onnx")
    feeds = _four(model, case(folder)[0])
    try:
        report = model.audit(feeds, methods=["gradient"], checks=["second_engine"])
    except ExplainsvcError:  # nothing to differentiate: trees, tokens
        return
    found = {row.measure: row.mean for row in report.rows if row.method == "gradient"}
    if folder.name == BRANCHING:
        assert "If" in report.rows[0].note
    elif "largest_difference" in found:
        assert report.verdicts["gradient", "second_engine"] == "pass", report.reasons
        assert found["median_difference"] < 1e-5 or found["rounding"] > 1e-5
        assert found["output_deviation"] < 1e-4
    else:
        assert not report.header["asked"] or report.header["refused"] or report.rows[0].note


def _four(model: explainsvc.Model, feeds: dict[str, Array]) -> dict[str, Array]:
    """The sample and three beside it, where the model takes several; every float input is nudged."""
    rng = np.random.default_rng(0)
    nudged = [{name: _nudged(rng, a) for name, a in feeds.items()} for _ in range(3)]
    stacked = {name: np.concatenate([a, *(other[name] for other in nudged)]) if a.ndim else a for name, a in feeds.items()}
    return stacked if model.stackable and model.batched(feeds) else feeds


def _nudged(rng: np.random.Generator, array: Array) -> Array:
    if array.dtype.kind != "f":
        return array
    return np.asarray(array + NUDGE * array.astype(np.float64).std() * rng.standard_normal(array.shape)).astype(array.dtype)
