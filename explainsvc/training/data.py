"""What a model is trained on, and what its task makes of outputs and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

from explainsvc.autograd.shapes import Array
from explainsvc.checks.facts import sha256_of
from explainsvc.errors import InvalidInput, Violation
from explainsvc.training.trainable import Tensors, Trainable

LEAST_ITEMS = 20
"""With fewer, one item is more than 5 % of an accuracy: nothing lies between 95 % and all of them."""


class Loss(Protocol):
    """What training makes small."""

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor, /) -> torch.Tensor:
        """Outputs [item, …], labels → the loss of every item, [item]."""


@dataclass(frozen=True)
class Task:
    """What labels are.

    Attributes:
        name: In records, such as ``cross_entropy``.
        loss: Per item. Its labels have the output's shape, unless they are classes.
        labels: ``classes``: an index per item, [item]; ``binary``: 0 or 1 for every element of the output; ``numbers``: any.
        threshold: An output above it says 1, where labels are binary: 0 for logits, 0.5 for probabilities.
    """

    name: str
    loss: Loss
    labels: Literal["classes", "binary", "numbers"] = "classes"
    threshold: float = 0.0

    def hits(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Per item, the share of its labels that the output gives, [item]; NaN where labels are numbers."""
        if self.labels == "classes":
            return (outputs.argmax(dim=1) == labels).double()
        if self.labels == "binary":
            return ((outputs > self.threshold) == (labels > 0)).double().reshape(len(outputs), -1).mean(dim=1)
        return torch.full((len(outputs),), torch.nan, dtype=torch.float64)


@dataclass(frozen=True)
class Data:
    """Items with their labels.

    Attributes:
        inputs: Input name → array, axis 0 counts items.
        labels: As the task has them, axis 0 counts items.
    """

    inputs: Mapping[str, Array] = field(repr=False)
    labels: Array = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def feeds(self, items: Array | slice) -> Tensors:
        """Some of the items as tensors."""
        return {name: torch.as_tensor(np.ascontiguousarray(array[items])) for name, array in self.inputs.items()}

    def guessing(self) -> float:
        """The share of the commonest label: the accuracy of whoever always says the same."""
        return float(np.unique(self.labels, return_counts=True)[1].max() / self.labels.size)

    def digests(self) -> dict[str, str]:
        """The sha256 of every array, by which others can tell whether they have the same."""
        return {**{name: sha256_of(array) for name, array in sorted(self.inputs.items())}, "labels": sha256_of(self.labels)}


def labels_like(labels: Array, outputs: torch.Tensor, task: Task) -> torch.Tensor:
    """Labels in the form that the task's loss takes beside these outputs."""
    if task.labels == "classes":
        return torch.as_tensor(np.ascontiguousarray(labels, np.int64))
    return torch.as_tensor(np.ascontiguousarray(labels)).to(outputs).reshape(outputs.shape)


def require_fitting(trainable: Trainable, data: Data, task: Task, output: str) -> None:
    """The data can be trained on.

    Raises:
        InvalidInput: Inputs that are missing or of another number of items, labels that do not fit the output, labels that
            are all the same, fewer than LEAST_ITEMS items, numbers that are not finite. Lists everything that is wrong.
    """
    violations = [*_input_violations(trainable, data), *_label_violations(data.labels, task)]
    if not violations:
        violations = _output_violations(data.labels, task, output, _shape_of_two(trainable, data, output))
    if violations:
        raise InvalidInput("the model cannot be trained on these data", where="training", violations=violations)


def _shape_of_two(trainable: Trainable, data: Data, output: str) -> tuple[int, ...]:
    """The output's shape for the first two items; InvalidInput where torch does not take them."""
    trainable.module.eval()
    try:
        with torch.no_grad():
            return tuple(trainable(data.feeds(slice(0, 2)))[output].shape)
    except (RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        given = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in data.inputs.items())
        raise InvalidInput(f"torch could not run the model on these inputs ({given}): {text}", where="training") from error


def _input_violations(trainable: Trainable, data: Data) -> list[Violation]:
    found = [Violation(f'inputs["{name}"]', "is missing") for name in trainable.inputs if name not in data.inputs]
    for name, array in data.inputs.items():
        if len(array) != len(data):
            found.append(Violation(f'inputs["{name}"]', f"has {len(array)} items, the labels have {len(data)}"))
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            found.append(Violation(f'inputs["{name}"]', "holds NaN or infinity"))
    return found


def _label_violations(labels: Array, task: Task) -> list[Violation]:
    if len(labels) < LEAST_ITEMS:
        return [Violation("labels", f"are of {len(labels)} items, expected {LEAST_ITEMS} or more")]
    if task.labels == "classes" and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        return [Violation("labels", f"are {labels.dtype}{list(labels.shape)}, expected integers [item]: a class index per item")]
    if task.labels == "binary" and not np.isin(labels, (0, 1)).all():
        return [Violation("labels", "are not all 0 or 1")]
    if labels.dtype.kind not in "iufb" or not np.isfinite(labels).all():
        return [Violation("labels", "are not all finite numbers")]
    return [Violation("labels", f"are all {labels.flat[0]}: there is nothing to tell apart")] if np.ptp(labels * 1) == 0 else []


def _output_violations(labels: Array, task: Task, output: str, shape: tuple[int, ...]) -> list[Violation]:
    """``shape`` is that of the output for two items."""
    if task.labels != "classes":
        of_item = int(np.prod(shape[1:]))
        fits = shape[:1] == (2,) and labels.size == len(labels) * of_item
        words = f'are {list(labels.shape)}, expected {of_item} for an item: output "{output}" is [item, {_words(shape[1:])}]'
        return [] if fits else [Violation("labels", words)]
    if len(shape) != 2 or shape[1] < 2:
        return [Violation("labels", f'are classes, but output "{output}" is [item, {_words(shape[1:])}], expected [item, class]')]
    low, high = int(labels.min()), int(labels.max())
    words = f'are {low} … {high}, but output "{output}" has classes 0 … {shape[1] - 1}'
    return [] if low >= 0 and high < shape[1] else [Violation("labels", words)]


def _words(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(str, shape))
