"""``python -m benchmarks.cascading``: what cascading model parameter randomisation takes, as a multiple of its gradients."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import explainsvc
from benchmarks import results
from benchmarks.networks import images, network
from benchmarks.subjects import subject_of
from benchmarks.timing import Times
from explainsvc.check import Check, Subject
from explainsvc.checks import find_check, maps
from explainsvc.randomisation import Draws, count_steps
from explainsvc.runtime import new_session

Array = NDArray[np.float32]
CHECK, METHOD = "parameter_randomization", "gradient"
TARGETS = {"resnet18": 0.85}
HEADER = ["model", "inputs", "steps + 1", "a batched gradient, ms", "spearman_abs", "all similarities", "target"]
LEGEND = """\
The whole check by the method `gradient` (new weights, digests, sessions, outputs, maps, similarities, rows with their
intervals) as a multiple of (steps + 1) runs of the explained graph on all inputs, in a warm session and batches of the same
size. The maps of step 0 are there before: those that every audit has of the untouched model. Order `cascading`, every unit a
step, no controls; once with one similarity and once with all. Processor seconds; median over the rounds of the ratio within a
round, in brackets fastest over fastest.
"""


def alone(model: explainsvc.Model, feeds: Mapping[str, Array]) -> Subject:
    """The inputs, explained by the one method."""
    subject = subject_of(model, feeds, METHOD, CHECK)
    return replace(subject, explained=tuple(e for e in subject.explained if e.asked))


def contestants(model: explainsvc.Model, feeds: Mapping[str, Array]) -> Mapping[str, Callable[[], object]]:
    """The gradients alone, and the check."""
    check: Check = find_check(CHECK)
    subject, (explained,) = (found := alone(model, feeds)), found.explained
    session = new_session(model.compile(METHOD).proto.SerializeToString())
    groups, seed = maps.groups(model, subject.feeds), explained.target.seed.astype(np.float32)

    def gradients() -> None:
        for _ in range(steps(model)):
            for group in groups:
                session.run({**{n: a[group] for n, a in feeds.items()}, "explain.seed": seed[group]})

    def run(similarities: str) -> Callable[[], object]:
        return lambda: list(check.run(subject, check.params(similarities=similarities)))

    return {"gradients": gradients, "one": run("spearman_abs"), "all": run("all")}


def steps(model: explainsvc.Model) -> int:
    """Of the cascade, the untouched model included."""
    return count_steps(model, Draws())


def rotated(runs: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Processor seconds, in turns: other work on the machine counts less in them than in time by the clock."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - start)
    return Times(seconds)


def line(model: explainsvc.Model, feeds: Mapping[str, Array], label: str, rounds: int) -> list[str]:
    """One row of the table."""
    times, count = rotated(contestants(model, feeds), rounds), steps(model)
    ratios = [f"{times.ratio(n, 'gradients'):.2f} ({times.best_ratio(n, 'gradients'):.2f})" for n in ("one", "all")]
    gradient = f"{1e3 * times.typical('gradients') / count:.0f}"
    return [label, str(len(next(iter(feeds.values())))), str(count), gradient, *ratios, f"≤ {TARGETS.get(label, 1.0):g}"]


def main() -> None:
    """Measures and prints a Markdown table; a path of a model of pictures [N, 1, 28, 28] or [N, 28, 28, 1] adds a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cascading", description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["resnet18"])
    parser.add_argument("--digits", type=Path, nargs="*", default=[], help="ONNX models of one input of 28 × 28 pixels")
    parser.add_argument("--counts", type=int, nargs="+", default=[13], help="pictures of a network; default: 13")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ["EXPLAINSVC_THREADS"] = str(args.threads)
    print(results.machine(args.threads), LEGEND, results.table(HEADER, []), sep="\n\n", flush=True)
    for path in args.digits:
        model = explainsvc.load(path)
        (entry,) = model.inputs
        x = np.random.default_rng(0).random((200, *(int(d or 1) for d in (entry.shape or ())[1:])), np.float32)
        print(f"| {' | '.join(line(model, {entry.name: x}, path.parent.name, args.rounds))} |", flush=True)
    for name in args.networks:
        model = explainsvc.load(network(name).onnx_path)
        for count in args.counts:
            print(f"| {' | '.join(line(model, {'x': images(count)}, name, args.rounds))} |", flush=True)


if __name__ == "__main__":
    main()
