"""The paper's two kinds of figure: similarity over the steps, and one input's maps step by step."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

import explainsvc
from benchmarks.paper.audits import DISTRIBUTION, Case
from benchmarks.paper.digits import Array
from benchmarks.paper.tables import methods_of
from explainsvc.randomisation import Draws, Step, steps_of
from explainsvc.report.charts import cascade_svg
from explainsvc.report.render import GridRow, grid_png
from explainsvc.report.report import Report

ROWS = 6
"""Steps that a figure of maps shows at most."""


def curves(report: Report, similarity: str, path: Path) -> None:
    """All methods over the steps, controls in grey."""
    rows = [row for row in report.rows if row.measure == similarity]
    path.write_text(cascade_svg(rows, similarity=similarity, controls=report.header["controls"]), encoding="utf-8")


def maps(case: Case, report: Report, item: int, path: Path) -> None:
    """One input under every method: rows are steps, the first is the untouched model."""
    model = explainsvc.load(case.path)
    feeds = {name: array[item : item + 1] for name, array in case.feeds.items()}
    target = int(model.predict(feeds)[model.default_output].argmax())
    steps = list(steps_of(model, Draws(order=case.order, distribution=DISTRIBUTION, blocks=case.blocks)))
    chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, min(ROWS, len(steps))).round().astype(int))]
    shown = [name for name in methods_of(report) if name not in ("random", "sobel")]
    rows = [_row(model, step, case, feeds, target, shown) for step in chosen]
    # 256 colours: a photograph's figure stays small enough to be committed
    Image.open(io.BytesIO(grid_png(rows))).convert("RGB").quantize(256).save(path, optimize=True)


def _row(model: explainsvc.Model, step: Step, case: Case, feeds: Mapping[str, Array], target: int, shown: list[str]) -> GridRow:
    changed = model.with_weights(step.weights)
    found = {}
    for method in shown:
        explained = changed.explain(feeds, method, target, **case.parameters.get(method, {}))
        (values,) = explained.values.values()
        found[method] = values[0]
    (image,) = feeds.values()
    return GridRow(step.name.strip("/") or "original", image[0], found)
