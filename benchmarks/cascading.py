"""Cascading randomisation of the parameters as a multiple of its gradients, and Quantus's on the same randomised weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import explainsvc
from benchmarks.contest import Array, Record, Settings, Task, contest
from benchmarks.networks import items, network
from benchmarks.subjects import subject_of
from explainsvc.check import Subject
from explainsvc.checks import find_check, maps
from explainsvc.checks.rows import Row
from explainsvc.randomisation import Draws, all_random, count_steps
from explainsvc.runtime import new_session

Spec = dict[str, Any]
TITLE = "Cascading randomisation of the parameters"
CHECK, METHOD, SIMILARITY = "parameter_randomization", "gradient", "spearman_abs"
TARGETS = {"resnet18_folded": 0.85, "mnist_cnn": 1.0}
FULL = (("resnet18_folded", 8), ("resnet18_folded", 13), ("mnist_cnn", 8), ("mnist_cnn", 200))
LEGEND = """\
**gradients**: (steps + 1) runs of our explained graph on all inputs, in a warm session, in the batches that the check makes.
**one similarity**, **all similarities**: the whole check by the method `gradient`, no controls: new weights, digests, sessions,
outputs, maps, similarities, rows with their intervals; the maps of step 0 are there before, as in every audit. Quantus's `MPRT`
by the same similarity, its layers randomised to our numbers, as a multiple of its own (steps + 1) torch gradients. Deviation: the
largest difference of the means and standard deviations over the items, of any step. What a step takes beside the explanations
(drawing the numbers, the digest of the file, a session) does not depend on the number of items: eight digits through the CNN take
as long as its million numbers take to be drawn.
"""


def specs(quick: bool) -> Iterator[Spec]:
    """Eight images, and the numbers of them that our earlier records had."""
    for name, count in (("mnist_cnn", 8),) if quick else FULL:
        yield {"work": "cascading MPRT", "network": name, "batch": count, "target": TARGETS[name], "peers": ["quantus"]}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line."""
    name, x = spec["network"], items(spec["network"], spec["batch"])
    model, check = explainsvc.load(network(name)), find_check(CHECK)
    subject = alone(model, x)
    (explained,) = subject.explained
    classes = [int(c) for c in explained.target.seed.argmax(axis=1)]
    rows = list(check.run(subject, check.params(similarities=SIMILARITY)))
    ours: dict[str, Callable[[], object]] = {
        "gradients": gradients(model, subject),
        "one similarity": lambda: list(check.run(subject, check.params(similarities=SIMILARITY))),
        "all similarities": lambda: list(check.run(subject, check.params(similarities="all"))),
    }
    head = {**spec, "unit": "gradients", "units": {"quantus": "its gradients"}, "judged": "one similarity"}
    head |= {"steps": count_steps(model, Draws())}
    task = Task("quantus", "mprt", name, classes, arrays=all_random(model, Draws()))
    return contest(head, ours, [task], settings, {"quantus": lambda theirs: apart(rows, theirs)})


def alone(model: explainsvc.Model, x: Array) -> Subject:
    """The inputs, explained by the one method."""
    subject = subject_of(model, {"x": x}, METHOD, CHECK)
    return replace(subject, explained=tuple(e for e in subject.explained if e.asked))


def gradients(model: explainsvc.Model, subject: Subject) -> Callable[[], None]:
    """As many as the cascade has steps, by themselves."""
    (explained,) = subject.explained
    session = new_session(model.compile(METHOD).proto.SerializeToString())
    groups, seed = maps.groups(model, subject.feeds), explained.target.seed.astype(np.float32)
    steps = count_steps(model, Draws())

    def run() -> None:
        for _ in range(steps):
            for group in groups:
                session.run({**{n: a[group] for n, a in subject.feeds.items()}, "explain.seed": seed[group]})

    return run


def apart(rows: Sequence[Row], theirs: Array) -> float:
    """Of our rows from the peer's correlations [item, step]."""
    own = {row.step: row for row in rows if (row.measure, row.method) == (SIMILARITY, METHOD)}
    found = np.array([[own[step].mean, own[step].std] for step in sorted(own)])
    return float(np.abs(found - np.stack([theirs.mean(axis=0), theirs.std(axis=0, ddof=1)], axis=1)).max())
