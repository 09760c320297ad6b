"""What pixel flipping adds to the forwards that it needs, and what Quantus's adds to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import explainsvc
from benchmarks.contest import Array, Record, Settings, Task, apart, contest
from benchmarks.networks import SHAPES, items, network
from benchmarks.subjects import subject_of
from explainsvc.checks import find_check
from explainsvc.checks._flipping import MOST_ROWS
from explainsvc.checks.maps import GROUP_ELEMENTS
from explainsvc.checks.rows import Row

Spec = dict[str, Any]
TITLE = "Pixel flipping"
WALKS = (
    ("mnist_cnn", 1, 1, 784),
    ("mnist_cnn", 10, 1, 28),
    ("mnist_cnn", 100, 1, 28),
    ("resnet18", 1, 16, 20),
    ("resnet18", 8, 16, 20),
)
"""Network, images, side of what is flipped together, steps: all pixels of digits, twenty patches of photographs."""
ORDERS = 2
LEGEND = f"""\
**forwards**: the plain forwards that the check needs, of inputs made beforehand, in batches of the same size: {ORDERS} orders
(morf, and the random one that the verdict compares with), and the untouched input. **pixel_flipping**: the whole check: ranking,
perturbed inputs, forwards, rows with their intervals. Quantus's `PixelFlipping` (of photographs, where its features are single
elements and not pixels, its `RegionPerturbation`) on the same maps and steps, of the one order, as a multiple of its own torch
forwards. Deviation: of the mean curve, ‖ours − Quantus's‖ / ‖Quantus's‖.
"""


def specs(quick: bool) -> Iterator[Spec]:
    """Digits and photographs."""
    for name, count, patch, steps in WALKS[1:2] if quick else WALKS:
        work = f"pixel flipping, {steps} steps"
        head = {"work": work, "network": name, "batch": count, "target": 1.15, "peers": ["quantus"]}
        yield head | {"patch": patch, "steps": steps}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line."""
    name, x = spec["network"], items(spec["network"], spec["batch"])
    model, check, walk = explainsvc.load(network(name)), find_check("pixel_flipping"), {k: spec[k] for k in ("patch", "steps")}
    subject = subject_of(model, {"x": x}, "gradient", "pixel_flipping")
    explained = next(e for e in subject.explained if e.asked)
    params = check.params(order="morf", baseline=0.0, **_steps(spec))
    rows = list(check.run(subject, params))
    ours: dict[str, Callable[[], object]] = {
        "forwards": _forwards(model, x, len(x) * (ORDERS * walk["steps"] + 1)),
        "pixel_flipping": lambda: list(check.run(subject, params)),
    }
    classes = [int(c) for c in explained.target.seed.argmax(axis=1)]
    task = Task("quantus", "pixel_flipping", name, classes, walk, {"maps": explained.result.values["x"]})
    head = {**spec, "unit": "forwards", "units": {"quantus": "its forwards"}, "judged": "pixel_flipping"}
    return contest(head, ours, [task], settings, {"quantus": lambda theirs: apart(_curve(rows), theirs.mean(axis=0))})


def _steps(spec: Spec) -> dict[str, Any]:
    """The walk in our parameters."""
    patch, steps = spec["patch"], spec["steps"]
    if patch == 1:
        return {"steps": steps}
    return {"window": (patch,), "step_size": 1, "share": steps / (SHAPES[spec["network"]][1] // patch) ** 2}


def _forwards(model: explainsvc.Model, x: Array, rows: int) -> Callable[[], None]:
    size = max(1, min(MOST_ROWS, GROUP_ELEMENTS // x[0].size) // len(x)) * len(x)
    batches = [size] * (rows // size) + ([rows % size] if rows % size else [])
    pool = np.concatenate([x] * -(-size // len(x)))[:size]

    def run() -> None:
        for batch in batches:
            model.value_of({"x": pool[:batch]}, model.default_output)

    return run


def _curve(rows: Sequence[Row]) -> Array:
    """The mean output of each step, the untouched input left out."""
    own = {r.step: r.mean for r in rows if (r.measure, r.order, r.method) == ("output", "morf", "gradient")}
    return np.array([own[step] for step in sorted(own)[1:]])
