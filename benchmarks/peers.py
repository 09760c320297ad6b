"""Gradient and LRP against captum and zennit, as multiples of one plain onnxruntime forward of the same model and batch."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import explainsvc
from benchmarks.networks import CLASSES, images, network
from benchmarks.rivals import rival
from benchmarks.timing import Times, rotate
from explainsvc.runtime import SESSIONS, Session, new_session

METHODS = ("gradient", "lrp_epsilon_plus", "lrp_epsilon_plus_flat")
TARGETS: Mapping[str, float] = {"gradient": 2.8, "lrp_epsilon_plus_flat": 4.5}
"""Multiples of a forward that our graph must not exceed."""

LEGEND = """\
- **forward**: one `InferenceSession.run` of the exported model, milliseconds (median); the unit of all other columns.
- **graph**: one `InferenceSession.run` of our compiled graph, in the session that `explain` uses, seed given: the forward
  pass, the explanation and the output.
- **explain**: the whole `model.explain(…, target=[…])` on the same images: checks, target, session from the cache, result.
- **peer**: captum `Saliency(abs=False)` for `gradient`, zennit `Gradient` with its composite and canonizer for LRP, on the
  torchvision module in torch; hooks set up outside the timing, parameters need no gradient.
- Multiples are medians over the rounds of the ratio within a round; in brackets fastest over fastest. All contestants of
  a line take turns in one process with the same number of threads; building, compiling and the first run are not timed.
- **deviation**: of our map from the peer's, ‖ours − peer's‖ / ‖peer's‖ (float32: kinks of ReLU and max-pool move
  gradients of deep networks).
"""


@dataclass(frozen=True)
class Line:
    """One measured network, batch and method."""

    network: str
    batch: int
    method: str
    peer: str
    times: Times
    deviation: float

    def cells(self) -> list[str]:
        """As the table shows it."""
        target = TARGETS.get(self.method)
        forward = f"{1e3 * self.times.typical('forward'):.0f}"
        multiples = [self._multiple(name) for name in ("graph", "explain", "peer")]
        wanted = "" if target is None else f"≤ {target:g}"
        rounds = str(len(self.times.seconds["forward"]))
        facts = [self.network, str(self.batch), f"`{self.method}`", forward]
        return [*facts, *multiples, self.peer, wanted, f"{self.deviation:.0e}", rounds]

    def _multiple(self, name: str) -> str:
        return f"{self.times.ratio(name, 'forward'):.2f} ({self.times.best_ratio(name, 'forward'):.2f})"


HEADER = ["network", "batch", "method", "forward, ms", "graph", "explain", "peer", "", "target", "deviation", "rounds"]


def measure(
    networks: Sequence[str], batches: Sequence[int], methods: Sequence[str], seconds: float, threads: int
) -> Iterator[Line]:
    """All lines, each in a process of its own: what an allocator keeps must not press on the next line."""
    for name, batch, method in itertools.product(networks, batches, methods):
        asked = [name, str(batch), method, str(seconds), str(threads)]
        environment = os.environ | {"EXPLAINSVC_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers", *asked], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        facts = json.loads(done.stdout.splitlines()[-1])
        yield Line(**facts | {"times": Times(facts["times"]["seconds"])})


def measure_line(name: str, batch: int, method: str, seconds: float) -> Line:
    """One line, in this process."""
    subject, x = network(name), images(batch)
    plain = new_session(subject.onnx_path.read_bytes())
    scores = plain.run({"x": x})["y"]
    classes = [int(c) for c in scores.argmax(axis=1)]
    model = explainsvc.load(subject.onnx_path)
    model.explain({"x": x}, method, target=classes)
    graph = _session_of_explain()
    (seed,), (relevance,) = added(graph, plain)
    feeds = {"x": x, seed: np.eye(CLASSES, dtype=np.float32)[classes]}
    with rival(subject, method, x, classes) as (peer, ask):
        contestants = {
            "forward": lambda: plain.run({"x": x}, ["y"]),
            "graph": lambda: graph.run(feeds, [relevance, "y"]),
            "explain": lambda: model.explain({"x": x}, method, target=classes),
            "peer": ask,
        }
        deviation = _deviation(graph.run(feeds)[relevance], ask())
        return Line(name, batch, method, peer, rotate(contestants, seconds), deviation)


def _session_of_explain() -> Session:
    """The one that ``model.explain`` has just built; a second one would hold all activations and weights again."""
    (session,) = SESSIONS._sessions.values()
    return session


def added(graph: Session, plain: Session) -> tuple[list[str], list[str]]:
    """Inputs and outputs that the explained graph has and the model has not: the seed, and the explanation."""
    return [n for n in graph.inputs if n not in plain.inputs], [n for n in graph.outputs if n not in plain.outputs]


def _deviation(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float(np.linalg.norm((ours - theirs).astype(np.float64)) / np.linalg.norm(theirs.astype(np.float64)))


if __name__ == "__main__":
    asked_name, asked_batch, asked_method, asked_seconds, asked_threads = sys.argv[1:]
    torch.set_num_threads(int(asked_threads))
    line = measure_line(asked_name, int(asked_batch), asked_method, float(asked_seconds))
    print(json.dumps(asdict(line)))
