"""How the cost grows with depth, width, batch, steps, features, audit steps and the bytes of the model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import explainsvc
from benchmarks.cascading import CHECK as RANDOMISATION
from benchmarks.cascading import METHOD, SIMILARITY, alone
from benchmarks.chains import chain
from benchmarks.contest import Array, Record, Settings
from benchmarks.forwards import best_batch, classes_of, forwards, plain_session
from benchmarks.networks import items, network
from benchmarks.perturbation import features
from benchmarks.timing import rotate, timed
from explainsvc.checks import find_check
from explainsvc.randomisation import Draws, count_steps
from explainsvc.runtime import new_session

Spec = dict[str, Any]
TITLE = "Growth"
LEGEND = """\
By `gradient` on dense layers (Gemm, Relu) in a row unless the line says otherwise. **new**: seconds from the bytes to the first
result of a model that was never seen; **forward** and **explain** in milliseconds, medians; **×**: explain over forward, or over
as many forwards as the method needs in the fastest batch. No peer beside: what matters is that nothing grows faster than the
work.
"""
Cells = dict[str, float]


def specs(quick: bool) -> Iterator[Spec]:
    """The curves."""
    points: Mapping[str, Sequence[int]] = {
        "depth, nodes": (10, 30, 100, 300, 1000),
        "width, cells": (64, 256, 1024, 4096),
        "batch": (1, 8, 64, 256),
        "model, MB": (1, 10, 100, 400),
        "integrated_gradients, steps": (10, 50, 100, 200, 400),
        "feature_ablation, features": (49, 196, 784),
        "kernel_shap, features": (49, 196, 784),
        "cascading randomisation, steps": (3, 9, 33, 65),
    }
    for curve, at in points.items():
        yield {"work": curve, "at": at[:2] if quick else at}


def measure(spec: Spec, settings: Settings) -> Record:
    """One curve."""
    curve = CURVES[spec["work"]]
    points = [{"at": at, "values": curve(at, settings)} for at in spec["at"]]
    return {**spec, "kind": "curve", "points": points, "load": round(os.getloadavg()[0], 1)}


def _dense(nodes: int, width: int, batch: int, settings: Settings) -> Cells:
    data, x = chain(nodes, width), np.random.default_rng(1).standard_normal((batch, width)).astype(np.float32)
    start = time.perf_counter()
    model = explainsvc.load(data)
    classes = [0] * batch
    model.explain({"x": x}, METHOD, target=classes)
    new = time.perf_counter() - start
    plain = new_session(data)
    found = _compared(lambda: plain.run({"x": x}, ["y"]), lambda: model.explain({"x": x}, METHOD, target=classes), settings)
    return {"MB": len(data) / 1e6, "new, s": new, **found}


def _compared(forward: Callable[[], object], explain: Callable[[], object], settings: Settings) -> Cells:
    times = rotate({"forward": timed(forward), "explain": timed(explain)}, settings.budget / 5, settings.rounds)
    return {**{f"{name}, ms": 1e3 * times.typical(name) for name in times.seconds}, "×": times.ratio("explain", "forward")}


def _method(work: str, count: Callable[[int], int], parameters: Callable[[int], Mapping[str, Any]]) -> Callable[..., Cells]:
    def cells(at: int, settings: Settings) -> Cells:
        path, x = network("mnist_cnn"), items("mnist_cnn", 1)
        plain, model = plain_session(path), explainsvc.load(path)
        classes, size = classes_of(plain, x), 16 if settings.quick else best_batch(plain, x)
        alone = forwards(plain, x, count(at), size)
        return _compared(alone, lambda: model.explain({"x": x}, work, target=classes, **parameters(at)), settings)

    return cells


def _audit(steps: int, settings: Settings) -> Cells:
    data = chain(2 * (steps - 1), 256)
    model, check = explainsvc.load(data), find_check(RANDOMISATION)
    x: Array = np.random.default_rng(1).standard_normal((8, 256)).astype(np.float32)
    assert count_steps(model, Draws()) == steps
    subject = alone(model, x)
    run = timed(lambda: list(check.run(subject, check.params(similarities=SIMILARITY))))
    seconds = rotate({"check": run}, settings.budget / 5, settings.rounds).typical("check")
    return {"check, ms": 1e3 * seconds, "a step, ms": 1e3 * seconds / steps}


def _mask(count: int) -> Array:
    return features("mnist_cnn", round(count**0.5))


CURVES: Mapping[str, Callable[[int, Settings], Cells]] = {
    "depth, nodes": lambda at, s: _dense(at, 256, 8, s),
    "width, cells": lambda at, s: _dense(10, at, 8, s),
    "batch": lambda at, s: _dense(10, 1024, at, s),
    "model, MB": lambda at, s: _dense(10, round((at * 1e6 / 20) ** 0.5), 1, s),
    "integrated_gradients, steps": _method("integrated_gradients", lambda n: 2 * n, lambda n: {"steps": n}),
    "feature_ablation, features": _method("feature_ablation", lambda n: n + 1, lambda n: {"feature_mask": _mask(n)}),
    "kernel_shap, features": _method("kernel_shap", lambda n: 2 * n + 2048 + 2, lambda n: {"feature_mask": _mask(n)}),
    "cascading randomisation, steps": _audit,
}
