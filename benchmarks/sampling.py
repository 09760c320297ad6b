"""Integrated gradients and SmoothGrad against the forwards that cost as much as their gradients at best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.contest import Record, Settings, Task, apart, contest
from benchmarks.forwards import best_batch, classes_of, explained, forwards, plain_session
from benchmarks.networks import items, network

Spec = dict[str, Any]
TITLE = "Integrated gradients and SmoothGrad"
POINTS = 50
TARGETS = {"resnet18": 1.15, "mnist_cnn": 1.8}
LEGEND = """\
**forwards**: 2 × 50 plain forwards of one item, in the batch in which onnxruntime is fastest: a forward and a backward pass for
each of 50 points, if a backward pass cost no more than a forward. `explain` as it comes, and with that batch. captum as it comes
(all points in one batch), and in the fastest of the batches 1, 2, 4, … (tuned). Noise is drawn by each side for itself, so that
only the maps of integrated gradients compare.
"""


def specs(quick: bool) -> Iterator[Spec]:
    """Both methods on both networks."""
    for name in ("mnist_cnn",) if quick else ("resnet18", "mnist_cnn"):
        for work in ("integrated_gradients", "smoothgrad"):
            yield {"work": work, "network": name, "batch": 1, "target": TARGETS[name], "peers": ["captum"]}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line."""
    name, work = spec["network"], spec["work"]
    path, x = network(name), items(name, 1)
    plain = plain_session(path)
    classes, size = classes_of(plain, x), 8 if settings.quick else best_batch(plain, x)
    points = {"steps" if work == "integrated_gradients" else "samples": POINTS}
    as_it_comes, values = explained(path, x, work, classes, **points)
    tuned, _ = explained(path, x, work, classes, **points, batch_size=size)
    ours: dict[str, Callable[[], object]] = {
        "forwards": forwards(plain, x, 2 * POINTS, size), "explain": as_it_comes, f"explain, batches of {size}": tuned,
    }  # fmt: skip
    head = {**spec, "unit": "forwards", "judged": "explain"}
    same = {run: lambda theirs: apart(values, theirs) for run in ("captum", "captum, tuned")}
    compared = same if work == "integrated_gradients" else None
    return contest(head, ours, [Task(peer, work, name, classes, points) for peer in spec["peers"]], settings, compared)
