"""What ``model.explain`` adds to onnxruntime's own run, on a model so small that nothing else is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import parser

import explainsvc
from benchmarks.contest import Record, Settings
from benchmarks.forwards import added
from benchmarks.timing import Times, rotate, timed
from explainsvc.attribution import versions
from explainsvc.inputs import check_feeds
from explainsvc.inspection import reachable_inputs
from explainsvc.methods import find_method
from explainsvc.runtime import new_session
from explainsvc.sessions import SESSIONS
from explainsvc.target import resolve_target

CALLS = 50
"""Calls a measurement: one alone takes microseconds."""

TITLE = "What `explain` adds"
LEGEND = """\
Microseconds a call (median), two dense layers of 8 cells, one item. What begins with … is a part of the whole call: what is not
in them is onnxruntime and the result's own arithmetic.
"""


def tiny() -> onnx.ModelProto:
    """x [N, 8] → Gemm → Relu → Gemm → y [N, 4]."""
    rng = np.random.default_rng(0)
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 21]>
        tiny (float[N, 8] x) => (float[N, 4] y) { h = Gemm (x, w1)  a = Relu (h)  y = Gemm (a, w2) }"""
    )
    weights = {"w1": rng.standard_normal((8, 8)), "w2": rng.standard_normal((8, 4))}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items())
    return model


def specs(_quick: bool) -> Iterator[dict[str, Any]]:
    """One network."""
    yield {"work": "gradient", "network": "two dense layers of 8", "batch": 1}


def measure(spec: dict[str, Any], settings: Settings) -> Record:
    """Microseconds a call of every contestant."""
    times = rotate({name: timed(_often(run)) for name, run in contestants().items()}, settings.budget / 3, settings.rounds)
    calls = Times({name: [s / CALLS for s in seconds] for name, seconds in times.seconds.items()})
    found = {name: 1e6 * calls.typical(name) for name in calls.seconds}
    return {
        **spec,
        "kind": "µs",
        "ours": list(found),
        "values": found,
        "rounds": calls.rounds,
        "load": round(os.getloadavg()[0], 1),
    }


def contestants() -> Mapping[str, Callable[[], object]]:
    """Plain runs, whole calls, and the parts of a call that are functions of their own."""
    model, x = explainsvc.load(tiny()), np.ones((1, 8), np.float32)
    feeds = {"x": x}
    plain = new_session(model.proto.SerializeToString())
    graph = new_session(model.compile().proto.SerializeToString())
    (seed,), (gradient,) = added(graph, plain)
    seeded = {"x": x, seed: np.eye(4, dtype=np.float32)[:1]}
    output, method = plain.run(feeds)["y"], find_method("gradient")
    key = ("benchmark", "overhead")
    SESSIONS.get(key, lambda: new_session(graph_bytes(model)))
    return {
        "onnxruntime, the model": lambda: plain.run(feeds),
        "onnxruntime, the explained graph": lambda: graph.run(seeded, [gradient, "y"]),
        "`explain`, target an index": lambda: model.explain(feeds, target=1),
        "`explain`, target the arg-max": lambda: model.explain(feeds),
        "`explain`, target and inputs named": lambda: model.explain(feeds, target=1, inputs=["x"]),
        "… checks of the feeds": lambda: check_feeds(feeds, model.inputs, model.frozen_batch),
        "… target, its output known": lambda: resolve_target(1, "y", lambda _: output, True),
        "… inputs that the target depends on": lambda: reachable_inputs(model, method, "y"),
        "… session from the cache": lambda: SESSIONS.get(key, lambda: new_session(graph_bytes(model))),
        "… versions for the record": versions,
    }


def graph_bytes(model: explainsvc.Model) -> bytes:
    """The compiled gradient, serialised."""
    return model.compile().proto.SerializeToString()


def _often(run: Callable[[], object]) -> Callable[[], object]:
    def loop() -> None:
        for _ in range(CALLS):
            run()

    return loop
