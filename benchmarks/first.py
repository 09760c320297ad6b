"""The first explanation of a network that was never seen, and the second, which must build nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import explainsvc
from benchmarks.contest import Peer, PeerFailed, Record, Settings, Task
from benchmarks.environments import ROOT
from benchmarks.networks import items, network
from benchmarks.overhead import tiny
from explainsvc.sessions import SESSIONS

Spec = dict[str, Any]
TITLE = "The first explanation"
LEGEND = """\
Seconds from the file to the first result (load, passes, build, session, run, the explained graph held against the model), of a
network that the process has not seen, imports done: median of the processes. **second**: the same call again. **built**: sessions
that the second call made. captum: the torch module made and filled with its weights, and its first gradient; it builds no graph.
"""
LIMITS = {"resnet18": 2.0, "resnet50": 2.0, "vgg16": 6.0}


def specs(quick: bool) -> Iterator[Spec]:
    """Gradient and LRP, which needs changed copies of weights."""
    for name in ("resnet18",) if quick else ("resnet50", "vgg16"):
        for work in ("gradient", "lrp_epsilon_plus_flat"):
            peers = ["captum"] if work == "gradient" else []
            yield {"work": work, "network": name, "batch": 1, "target": LIMITS[name], "peers": peers}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line: ours in new processes, the peer in turns with them."""
    name, work = spec["network"], spec["work"]
    network(name)
    record: Record = {**spec, "kind": "s", "judged": "explain, first", "failed": {}, "versions": {}}
    seconds: dict[str, list[float]] = {}
    for _ in range(settings.rounds):
        command = [sys.executable, "-m", "benchmarks.first", name, work]
        found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for peer in spec["peers"]:
            try:
                asked = Peer(Task(peer, "first", name, [0]), settings)
                found[f"{peer}, first"] = asked.time(asked.runs[0])
                record["versions"] |= asked.versions
                asked.close()
            except PeerFailed as error:
                record["failed"] |= {peer: str(error)}
        for what, value in found.items():
            seconds.setdefault(what, []).append(value)
    values = {what: median(all_of) for what, all_of in seconds.items()}
    ours = [what for what in values if what.startswith(("explain", "sessions"))]
    return record | {"ours": ours, "values": values, "rounds": settings.rounds, "load": round(os.getloadavg()[0], 1)}


def once(name: str, work: str) -> dict[str, float]:
    """In this process: seconds of the first and the second explanation, and how many sessions the second one made."""
    x, path = items(name, 1), network(name)
    explainsvc.load(tiny()).explain({"x": x.reshape(-1)[None, :8]}, work)  # imports
    start = time.perf_counter()
    model = explainsvc.load(path)
    model.explain({"x": x}, work, target=0)
    first, before = time.perf_counter() - start, set(SESSIONS._sessions)
    start = time.perf_counter()
    model.explain({"x": x}, work, target=0)
    second = time.perf_counter() - start
    return {
        "explain, first": first,
        "explain, second": second,
        "sessions built by the second": len(set(SESSIONS._sessions) - before),
    }


if __name__ == "__main__":
    print(json.dumps(once(*sys.argv[1:])))
