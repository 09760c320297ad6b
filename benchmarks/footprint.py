"""Peak memory of an explanation, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import explainsvc
from benchmarks import memory
from benchmarks.contest import Peer, PeerFailed, Record, Settings, Task
from benchmarks.environments import ROOT
from benchmarks.networks import items, network

Spec = dict[str, Any]
TITLE = "Peak memory"
TARGETS = {"gradient": 400, "lrp_epsilon_plus_flat": 700}
FIRST, AGAIN = "first", "again"
LEGEND = """\
Megabytes (10⁶ bytes) by which the resident memory of a process grows at its peak. **first**: from the loaded model on, by the
first explanation: passes, the explained graph, its session with its weights (of a peer: hooks, folded weights), and the run.
**again**: by a full batch after an explanation that has made all that is kept (ours: of a single item, since onnxruntime keeps
what a run took); this is what the target judges. VmRSS before, what was freed given back to the system, and VmHWM after.
"""


def specs(quick: bool) -> Iterator[Spec]:
    """Gradient and LRP."""
    name = "resnet18" if quick else "resnet50"
    for work, peer in (("gradient", "captum"), ("lrp_epsilon_plus_flat", "zennit")):
        yield {"work": work, "network": name, "batch": 8, "target": TARGETS[work], "peers": [peer]}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line, by four processes."""
    name, work, batch = spec["network"], spec["work"], spec["batch"]
    found = {f"explain, {when}": _ours(name, work, batch, when) for when in (FIRST, AGAIN)}
    record = {**spec, "kind": "MB", "judged": f"explain, {AGAIN}", "ours": list(found), "failed": {}, "versions": {}}
    for peer in spec["peers"]:
        task = Task(peer, work, name, [0] * batch)
        try:
            found |= {f"{peer}, {when}": _theirs(task, settings, when, record["versions"]) for when in (FIRST, AGAIN)}
        except PeerFailed as error:
            record["failed"] |= {peer: str(error)}
    return record | {"values": found, "load": round(os.getloadavg()[0], 1)}


def _ours(name: str, work: str, batch: int, when: str) -> float:
    network(name)
    command = [sys.executable, "-m", "benchmarks.footprint", name, work, str(batch), when]
    return float(json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout))


def grown(name: str, work: str, batch: int, when: str) -> float:
    """Megabytes at the peak of an explanation over those before, in this process."""
    x, model = items(name, batch), explainsvc.load(network(name))
    if when == AGAIN:
        model.explain({"x": x[:1]}, work, target=[0])
    before = memory.reset()
    model.explain({"x": x}, work, target=[0] * batch)
    return memory.peak() - before


def _theirs(task: Task, settings: Settings, when: str, versions: dict[str, str]) -> float:
    peer = Peer(task, settings)
    try:
        versions |= peer.versions
        if when == AGAIN:
            peer.time(peer.runs[0])
        before = peer.megabytes("reset")
        peer.time(peer.runs[0])
        return peer.megabytes("memory") - before
    finally:
        peer.close()


if __name__ == "__main__":
    asked_name, asked_work, asked_batch, asked_when = sys.argv[1:]
    print(json.dumps(grown(asked_name, asked_work, int(asked_batch), asked_when)))
