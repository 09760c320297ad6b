"""The audits: which model, which inputs, which order and distribution; a finished one is kept as a report and not run again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import explainsvc
from benchmarks.paper.digits import Array, Digits
from explainsvc.images import Preprocessing, preprocess
from explainsvc.report.report import Report

MPRT = "parameter_randomization"
INPUTS = 200
"""As in the paper's section 4.1."""
METHODS = (
    "gradient", "smoothgrad", "vargrad", "input_x_gradient", "integrated_gradients", "guided_backprop", "grad_cam",
    "guided_grad_cam",
)  # fmt: skip
ORDERS = ("cascading", "independent")
DISTRIBUTION = "he_normal"
NOISY = ("smoothgrad", "vargrad")
FIRES = ["conv10_1", ["fire9", "fire8"], ["fire7", "fire6"], ["fire5", "fire4"], ["fire3", "fire2"], "conv1_1"]
FEWER: Mapping[str, Mapping[str, Any]] = {
    "smoothgrad": {"samples": 10}, "vargrad": {"samples": 10}, "integrated_gradients": {"steps": 10},
}  # fmt: skip
"""Of SqueezeNet, whose pictures have 190 times the pixels: minutes of one core in place of an hour."""
CAFFE = Preprocessing(scale=1.0, mean=(104.0, 117.0, 123.0), bgr=True)


@dataclass(frozen=True)
class Case:
    """A model on its inputs, with labels where known, and in which order its weights are drawn anew."""

    model: str
    path: Path
    feeds: Mapping[str, Array]
    labels: Array | None
    order: str
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blocks: Sequence[Any] | str = ""
    methods: tuple[str, ...] = METHODS

    @property
    def name(self) -> str:
        """That of its file."""
        return f"{self.model}-{self.order}"


def of_digits(model: str, path: Path, digits: Digits) -> Iterator[Case]:
    """The audits of a network that was trained on digits."""
    chosen = digits.first(INPUTS)
    for order in ORDERS:
        yield Case(model, path, {"image": chosen.x}, chosen.y, order)


def of_photographs(model: Path, photographs: Path) -> Iterator[Case]:
    """SqueezeNet by pairs of Fire modules, on the photographs; no labels, for some photographs show none of the classes."""
    files = [entry["file"] for entry in json.loads((photographs / "index.json").read_text())]
    shape = (1, 3, 224, 224)
    x = np.concatenate([preprocess(photographs / file, shape, how=CAFFE).tensor for file in files])
    less_noisy = tuple(method for method in METHODS if method not in NOISY)
    for order, methods in zip(ORDERS, (METHODS, less_noisy), strict=True):
        parameters = {method: values for method, values in FEWER.items() if method in methods}
        yield Case("squeezenet", model, {"data_0": x}, None, order, parameters, FIRES, methods)


def run(case: Case, folder: Path) -> Report:
    """The case's report, from its file where that is of the same model."""
    path = folder / f"{case.name}.json"
    model = explainsvc.load(case.path)
    if path.is_file():
        known = Report.from_json(json.loads(path.read_text()))
        if known.header["model"]["digest"] == model.digest:
            return known
    begun = time.monotonic()
    own = {"order": case.order, "distribution": DISTRIBUTION, "blocks": case.blocks}
    report = model.audit(
        case.feeds,
        methods=case.methods,
        checks=(MPRT,),
        labels=case.labels,
        parameters={**case.parameters, MPRT: own},
        progress=lambda done, total, what: print(f"{case.name}: {done}/{total} {what}", flush=True),
    )
    folder.mkdir(parents=True, exist_ok=True)
    report.save(path)
    report.save(path.with_suffix(".html"))
    print(f"{case.name}: {time.monotonic() - begun:.0f} s", flush=True)
    return report
