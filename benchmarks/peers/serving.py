"""A peer's side of a contest: it makes its runs ready, and then runs the one that it is told to, once a line.

Started with the task as JSON; reads ``run NAME``, ``save NAME PATH``, ``reset`` and ``memory`` line by line, and answers each
with a line of JSON. Seconds are taken here, so that the pipe costs nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import memory
from benchmarks.networks import items

Array = NDArray[Any]
Run = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """What is asked: the work, on which network and items, for which class of each; ``arrays`` is the path of an .npz."""

    work: str
    network: str
    classes: list[int]
    threads: int
    quick: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    arrays: str = ""

    @cached_property
    def x(self) -> Array:
        """The items, [batch, *item]."""
        return items(self.network, len(self.classes))

    @cached_property
    def given(self) -> Mapping[str, Array]:
        """The arrays that came with the task."""
        return dict(np.load(self.arrays))


def serve(tasks: Mapping[str, Callable[[Task], Mapping[str, Run]]], *packages: str) -> None:
    """Answers until the input ends.

    Args:
        tasks: Work → task → the runs by their name; each gives its values as an array, or None.
        packages: Distributions whose versions are told.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    task = Task(**json.loads(sys.argv[1]))
    torch.set_num_threads(task.threads)
    try:
        runs = dict(tasks[task.work](task))
    except Exception as error:  # noqa: BLE001  (what a peer cannot do is a result)
        answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}) + "\n")
        return
    versions = {name: metadata.version(name) for name in ("torch", *packages)}
    answers.write(json.dumps({"runs": list(runs), "versions": versions}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(_answer(runs, line.rstrip("\n").split("\t"))) + "\n")


def _answer(runs: Mapping[str, Run], command: list[str]) -> dict[str, Any]:
    try:
        match command:
            case ["run", name]:
                start = time.perf_counter()
                runs[name]()
                return {"seconds": time.perf_counter() - start}
            case ["save", name, path]:
                np.save(path, np.asarray(runs[name]()))
                return {}
            case ["reset"]:
                return {"megabytes": memory.reset()}
            case ["memory"]:
                return {"megabytes": memory.peak()}
    except Exception as error:  # noqa: BLE001  (what a peer cannot do is a result)
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"error": f"no such command: {command}"}


def fastest(make: Callable[[int], Run], sizes: list[int]) -> Run:
    """The run of the size that takes least: what somebody would settle on who tries a few."""
    best: tuple[float, Run] | None = None
    for size in sizes:
        run = make(size)
        run()
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        if best is None or seconds < best[0]:
            best = seconds, run
    assert best is not None
    return best[1]
