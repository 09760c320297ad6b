"""The losses by name, per item: tasks for :mod:`explainsvc.training.data`, and their numbers on data that need not be many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional as F

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidInput, InvalidParameter, Violation
from explainsvc.training.data import Data, Loss, Task, labels_like
from explainsvc.training.trainable import Trainable

LOGITS, PROBABILITIES = "logits", "probabilities"
ROUNDING = 1e-3
"""By which rounding in half precision may bring a loss below 0."""
BATCH = 64
"""Items that are computed at once, unless the caller says another number."""


def task(name: str, outputs: str = LOGITS) -> Task:
    """The task whose loss has this name. What outputs are must be told: no loss can tell logits from probabilities.

    Args:
        name: ``cross_entropy``: outputs [item, class], labels a class per item, −log p(label); ``bce``: outputs and labels of one
            shape [item, …], labels 0 or 1, binary cross-entropy; ``mse``: any numbers, squared difference. The latter two are
            means over the elements of an item.
        outputs: ``logits`` or ``probabilities``. A model that ends in Softmax or Sigmoid has probabilities.

    Raises:
        InvalidParameter: Another name, or probabilities under ``mse``, which takes numbers as they are.
    """
    made = _TASKS.get((name, outputs))
    if made is None:
        known = ", ".join(f"{one} over {what}" for one, what in _TASKS)
        raise InvalidParameter(f"no loss is called {name} over {outputs}", where="loss", expected=known)
    return made


def _cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


def _log_loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.nll_loss(outputs.log(), labels, reduction="none")


def _bce_of_logits(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    # −y log σ(z) − (1 − y) log σ(−z)
    return _of_items(F.softplus(outputs) - labels * outputs)


def _bce(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    # the probability of the label itself: where it is one, the other term would be 0·log 0
    return _of_items(-torch.where(labels > 0, outputs, 1 - outputs).log())


def _squared(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return _of_items((outputs - labels).square())


def _of_items(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values


def _made(name: str, loss: Loss, labels: str, threshold: float = 0.0) -> Task:
    return Task(name, loss, labels, threshold)  # type: ignore[arg-type]  # a literal of the table below


_TASKS: Mapping[tuple[str, str], Task] = {
    ("cross_entropy", LOGITS): _made("cross_entropy", _cross_entropy, "classes"),
    ("cross_entropy", PROBABILITIES): _made("cross_entropy", _log_loss, "classes"),
    ("bce", LOGITS): _made("bce", _bce_of_logits, "binary"),
    ("bce", PROBABILITIES): _made("bce", _bce, "binary", 0.5),
    ("mse", LOGITS): _made("mse", _squared, "numbers"),
}


@contextmanager
def evaluation(trainable: Trainable) -> Iterator[None]:
    """The module in eval mode: an item's loss depends on no other item, and on no chance. As it was before, afterwards."""
    before = {module: module.training for module in trainable.module.modules()}
    trainable.module.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def require_items(trainable: Trainable, data: Data, task: Task, output: str = "") -> None:
    """Every item has the model's inputs and a label that fits the output; one item will do.

    Raises:
        InvalidInput: Inputs are missing or of another number of items, labels do not fit; lists everything that is wrong.
        InvalidParameter: No such output, or classes where the output has fewer than two.
    """
    if output and output not in trainable.outputs:
        raise InvalidParameter(f'the model has no output "{output}"', where="loss", expected=", ".join(trainable.outputs))
    violations = [Violation(f'inputs["{name}"]', "is missing") for name in trainable.inputs if name not in data.inputs]
    for name, array in data.inputs.items():
        if len(array) != len(data):
            violations.append(Violation(f'inputs["{name}"]', f"has {len(array)} items, the labels have {len(data)}"))
    if not len(data):
        violations.append(Violation("labels", "are of no item"))
    if not violations:
        with evaluation(trainable), torch.no_grad():
            shape = tuple(trainable(data.feeds(slice(0, 1)))[output or trainable.outputs[0]].shape)
        violations = _label_violations(data.labels, task, shape)
    if violations:
        raise InvalidInput("items and labels do not fit the model", where="loss", violations=violations)


def require_several(data: Data, task: Task) -> None:
    """Labels tell items apart: where all are one class, the loss of a classifier has no minimum.

    Raises:
        InvalidInput: All are the same.
    """
    if task.labels != "numbers" and (data.labels == data.labels.flat[0]).all():
        raise InvalidInput(
            f"the labels of the training points are all {data.labels.flat[0]}", where="loss", expected="two classes or more"
        )


def _label_violations(labels: Array, task: Task, shape: tuple[int, ...]) -> list[Violation]:
    """``shape`` is that of the output for one item."""
    if task.labels == "classes":
        return _class_violations(labels, shape)
    if labels.dtype.kind not in "iufb" or not np.isfinite(labels).all():
        return [Violation("labels", "are not all finite numbers")]
    if task.labels == "binary" and not np.isin(labels, (0, 1)).all():
        return [Violation("labels", "are not all 0 or 1")]
    of_item = int(np.prod(shape[1:]))
    fits = labels.size == len(labels) * of_item and shape[:1] == (1,)
    return [] if fits else [Violation("labels", f"are {list(labels.shape)}, expected {of_item} for an item, as the output has")]


def _class_violations(labels: Array, shape: tuple[int, ...]) -> list[Violation]:
    if len(shape) != 2 or shape[1] < 2:
        raise InvalidParameter(
            f"cross_entropy over an output of shape {list(shape)}", where="loss", expected="[item, class], two classes or more",
            to_do="Take bce where one number says yes or no, mse where outputs are numbers",
        )  # fmt: skip
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return [Violation("labels", f"are {labels.dtype}{list(labels.shape)}, expected integers [item]: a class index per item")]
    low, high = int(labels.min()), int(labels.max())
    words = f"are {low} … {high}, the output has classes 0 … {shape[1] - 1}"
    return [] if low >= 0 and high < shape[1] else [Violation("labels", words)]


def batches(data: Data, batch: int = BATCH) -> Iterator[slice]:
    """Items in their order, ``batch`` at a time."""
    return (slice(start, start + batch) for start in range(0, len(data), batch))


def losses(trainable: Trainable, data: Data, task: Task, *, output: str = "", batch: int = BATCH) -> Array:
    """The loss of every item, float64 [item], with the module in eval mode; their mean is the objective.

    Args:
        trainable: Not changed.
        data: Items and labels.
        task: The loss.
        output: The output that is held against the labels; by default the first.
        batch: Items that are computed at once.

    Raises:
        InvalidInput: Items or labels do not fit, or a loss is NaN, infinite, or below 0: then outputs are no probabilities.
        InvalidParameter: See :func:`require_items`.
    """
    require_items(trainable, data, task, output)
    found = []
    with evaluation(trainable), torch.no_grad():
        for items in batches(data, batch):
            outputs = trainable(data.feeds(items))[output or trainable.outputs[0]]
            found.append(task.loss(outputs, labels_like(data.labels[items], outputs, task)).double().numpy())
    values = np.concatenate(found)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= -ROUNDING)))
    if len(wrong):
        raise InvalidInput(
            f"the loss of {len(wrong)} of {len(values)} items is no loss: {values[wrong[0]]} for item {wrong[0]}", where="loss",
            expected="finite losses, none below 0", to_do="Are outputs probabilities, as was said? Are inputs numbers?",
        )  # fmt: skip
    return values
