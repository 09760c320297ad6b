"""Plain onnxruntime forwards: the unit of all figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import explainsvc
from explainsvc.runtime import Session, new_session
from explainsvc.sessions import SESSIONS

Array = NDArray[np.float32]
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PATIENCE = 3.0
"""Seconds of a batch beyond which no larger one is tried."""


def plain_session(path: Path) -> Session:
    """The exported model, in a session like those of the explained graphs."""
    return new_session(path.read_bytes())


def classes_of(plain: Session, x: Array) -> list[int]:
    """The arg-max of each item."""
    return [int(c) for c in plain.run({"x": x})["y"].argmax(axis=1)]


def best_batch(plain: Session, item: Array) -> int:
    """The batch in which an item [1, …] takes least, by three runs each."""
    found: dict[int, float] = {}
    for size in SIZES:
        x = np.repeat(item, size, axis=0)
        seconds = [_seconds(partial(plain.run, {"x": x}, ["y"])) for _ in range(4)][1:]
        found[size] = min(seconds) / size
        if max(seconds) > PATIENCE:
            break
    return min(found, key=lambda size: found[size])


def forwards(plain: Session, item: Array, count: int, size: int) -> Callable[[], None]:
    """``count`` items in batches of ``size``, made beforehand."""
    pool = np.repeat(item, min(size, count), axis=0)
    batches = [size] * (count // size) + ([count % size] if count % size else [])

    def run() -> None:
        for batch in batches:
            plain.run({"x": pool[:batch]}, ["y"])

    return run


def session_of_explain() -> Session:
    """The one that ``model.explain`` has just built; a second one would hold all activations and weights again."""
    (session,) = SESSIONS._sessions.values()
    return session


def explained(path: Path, x: Array, method: str, classes: list[int], **parameters: Any) -> tuple[Callable[[], object], Array]:
    """``model.explain``, ready to run again, and the values of its first run."""
    model = explainsvc.load(path)

    def run() -> explainsvc.Attribution:
        return model.explain({"x": x}, method, target=classes, **parameters)

    return run, run().values["x"]


def added(graph: Session, plain: Session) -> tuple[list[str], list[str]]:
    """Inputs and outputs that the explained graph has and the model has not: the seed, and the explanation."""
    return [n for n in graph.inputs if n not in plain.inputs], [n for n in graph.outputs if n not in plain.outputs]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
