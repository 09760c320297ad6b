"""What the check ``learned`` says of trained models, and of the same architectures before any training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import explainsvc
from benchmarks.paper.audits import Case
from explainsvc.checks.learned import NAME as LEARNED
from explainsvc.checks.rows import MODEL
from explainsvc.model import Model
from explainsvc.randomisation import randomised

INITIALISERS = ("he_normal", "glorot_uniform", "permute")
HEADER = ("model", "weights", "with labels", "without", "in numbers")


def lines(case: Case, control: Path | None) -> Iterator[list[str]]:
    """The case's model as trained and as each initialiser draws it; the corpus' untrained MLP where it is there."""
    trained = explainsvc.load(case.path)
    yield _line(case, trained, case.model, "trained")
    for seed, name in enumerate(INITIALISERS, 1):
        words = "trained, then shuffled" if name == "permute" else name
        yield _line(case, explainsvc.load(randomised(trained, distribution=name, seed=seed)), case.model, words)
    if control is not None:
        yield _line(case, explainsvc.load(control), control.parent.name, "as published")


def _line(case: Case, model: Model, name: str, weights: str) -> list[str]:
    (x,), (taken,) = case.feeds.values(), model.inputs
    item = [int(size) for size in (taken.shape or ())[1:] if isinstance(size, int)]
    feeds = {taken.name: x.reshape(len(x), *item)}
    reports = [model.audit(feeds, methods=["gradient"], checks=[LEARNED], labels=labels) for labels in (case.labels, None)]
    words = [report.verdicts[MODEL, LEARNED] for report in reports]
    return [name, weights, *words, reports[0].reasons[MODEL, LEARNED]]
