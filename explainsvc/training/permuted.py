"""The data randomisation test: a model that learned permuted labels by heart, and its maps beside the true-label model's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explainsvc.checks.statistics import Z
from explainsvc.graph.load import load_model
from explainsvc.method import silent
from explainsvc.model import Model
from explainsvc.report.report import Report
from explainsvc.training.data import Data, Task
from explainsvc.training.fitting import Fitted, Record, Settings, fit, measure
from explainsvc.training.pair import NAME, compare
from explainsvc.training.trainable import Trainable
from explainsvc.weights import seed_sequence

LEAST_ACCURACY = 0.95
"""Training accuracy on the permuted labels from which on they count as learned: Adebayo et al. 2018, section 4."""


@dataclass(frozen=True)
class Permuted:
    """What came of training on permuted labels.

    Attributes:
        fitted: The trained model.
        labels_kept: The share of the labels that the permutation left as they were.
    """

    fitted: Fitted
    labels_kept: float

    @property
    def converged(self) -> bool:
        """Whether the labels were learned by heart."""
        return self.fitted.chosen.accuracy >= LEAST_ACCURACY


def permuted_labels(data: Data, seed: int) -> Data:
    """The same items with their labels in another order: how often each label occurs stays."""
    order = np.random.default_rng(seed_sequence(seed, "permuted labels")).permutation(len(data))
    return replace(data, labels=data.labels[order])


def fit_permuted(
    trainable: Trainable, data: Data, task: Task, settings: Settings, *, output: str = "", folder: Path | None = None,
    progress: Callable[[Record], None] = silent,
) -> Permuted:  # fmt: skip
    """Trains on permuted labels until they are known by heart, or the epochs are over; arguments and errors as :func:`fit`.

    ``settings.stop_accuracy`` is where training ends, at least LEAST_ACCURACY; ``settings.patience`` has no meaning here, for
    there is nothing to generalise to.
    """
    learned = permuted_labels(data, settings.seed)
    ending = replace(settings, stop_accuracy=max(LEAST_ACCURACY, settings.stop_accuracy), patience=0)
    fitted = fit(trainable, learned, task, ending, output=output, folder=folder, progress=progress)
    same = (learned.labels == data.labels).reshape(len(data), -1).all(axis=1)
    return Permuted(fitted, float(same.mean()))


def data_randomisation(
    trainable: Trainable, data: Data, task: Task, settings: Settings, feeds: Mapping[str, Any], methods: Sequence[str], *,
    output: str = "", folder: Path | None = None, progress: Callable[[Record], None] = silent, **question: Any,
) -> Report:  # fmt: skip
    """Whether maps depend on the relation of inputs and labels (Adebayo et al. 2018, section 4).

    Args:
        trainable: The true-label model, as it was trained. A copy of it learns the permuted labels from random initialisation.
        data: What it was trained on, with the true labels.
        task: The loss, and what labels are.
        settings: Of the training on permuted labels.
        feeds: The inputs that are explained.
        methods: Names.
        output: That is held against the labels; by default the first.
        folder: Keeps the training's checkpoints.
        progress: Called with the record of each epoch.
        question: The rest of :func:`explainsvc.training.pair.compare`.

    Returns:
        Its report. Where the permuted labels were not learned, or the true ones were not by the true-label model, every verdict
        is inconclusive and says so.

    Raises:
        ExplainsvcError: As :func:`fit` and :func:`compare`.
    """
    permuted = fit_permuted(trainable, data, task, settings, output=output, folder=folder, progress=progress)
    true_model, other = (Model(load_model(each.to_onnx())) for each in (trainable, permuted.fitted.trainable))
    report = compare(true_model, other, feeds, methods, **question)
    facts = _facts(permuted, settings, measure(trainable, data, task, output)[1])
    checks = {NAME: report.header["checks"][NAME] | {"training": facts}}
    why = _unlearned(permuted, facts["true_accuracy"], data)
    return _open(replace(report, header=report.header | {"checks": checks}), why)


def _facts(permuted: Permuted, settings: Settings, true_accuracy: float) -> dict[str, Any]:
    """What a reader of the report must know of the training."""
    fitted = permuted.fitted
    return {
        "settings": asdict(settings),
        "epochs": len(fitted.records),
        "threads": fitted.threads,
        "permuted_accuracy": fitted.chosen.accuracy,
        "true_accuracy": true_accuracy,
        "labels_kept": permuted.labels_kept,
    }


def _unlearned(permuted: Permuted, true_accuracy: float, data: Data) -> str:
    """Why the two models are not those that the test asks for; "" where they are."""
    reached, epochs = permuted.fitted.chosen.accuracy, len(permuted.fitted.records)
    if not permuted.converged:
        needed = f"{LEAST_ACCURACY:.0%} are needed: give it more epochs, another learning rate, or fewer items"
        return f"the model learned {reached:.1%} of the permuted labels in {epochs} epochs, {needed}"
    guessing = data.guessing()
    luck = Z * math.sqrt(guessing * (1 - guessing) / len(data))
    if true_accuracy <= guessing + luck:
        return f"the true-label model gives {true_accuracy:.1%} of its labels, no more than guessing does ({guessing:.1%})"
    return ""


def _open(report: Report, why: str) -> Report:
    """No verdict, where there is a reason for none."""
    if not why:
        return report
    reasons = {key: f"{why}; {report.reasons[key]}" for key in report.verdicts}
    return replace(report, verdicts=dict.fromkeys(report.verdicts, "inconclusive"), reasons=reasons)
