"""TracIn (Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent", arXiv:2002.08484)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter
from explainsvc.training.data import Data, Task
from explainsvc.training.gradients import Layers, Objective, PerItem, gradients, how_per_item, objective
from explainsvc.training.influence import most
from explainsvc.training.losses import BATCH, evaluation, losses
from explainsvc.training.trainable import Trainable


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint of a training.

    Attributes:
        weights: Initializer → its numbers then, as :meth:`Trainable.weights` gives them.
        rate: The learning rate of the steps that followed.
    """

    weights: Mapping[str, Array] = field(repr=False)
    rate: float


@dataclass(frozen=True)
class Tracin:
    """By how much steps on each training point lowered the loss of each test point.

    Attributes:
        values: float64 [test point, training point], Σ rate·∇L(z)ᵀ∇L(z_test) over the checkpoints (TracInCP, section 3.3).
            Positive: helpful (a proponent), to first order by how much the test point's loss falls. Influence functions have
            the other sign, as in the papers.
        parameters: Names of the parameters whose gradients were taken.
        per_item: How gradients of single items were computed.
    """

    values: Array = field(repr=False)
    parameters: tuple[str, ...]
    per_item: PerItem

    def helpful(self, k: int) -> Array:
        """The k training points of each test point that lowered its loss most, the most helpful first, [test point, k]."""
        return most(self.values, k)

    def harmful(self, k: int) -> Array:
        """The k training points of each test point that raised its loss most, the most harmful first, [test point, k]."""
        return most(-self.values, k)


def tracin(
    trainable: Trainable, checkpoints: Sequence[Snapshot], train: Data, test: Data, task: Task, *, layers: Layers = "all",
    output: str = "", batch: int = BATCH,
) -> Tracin:  # fmt: skip
    """TracInCP of every training point on every test point, in eval mode.

    Args:
        trainable: The model; its own numbers are neither used nor changed, but for those that a checkpoint leaves out.
        checkpoints: Of its training.
        train: What it was trained on.
        test: The points that are asked about.
        task: The loss, see :func:`explainsvc.training.losses.task`.
        layers: The parameters whose gradients are taken.
        output: The output that is held against the labels; by default the first.
        batch: Items that are computed at once.

    Raises:
        InvalidInput: Data do not fit the model, or a loss is no finite number.
        InvalidParameter: No checkpoint, one whose weights are not those of the model, or a rate that is no positive number.
    """
    for data in (train, test):
        losses(trainable, data, task, output=output, batch=batch)
    _require(trainable, checkpoints)
    with evaluation(trainable):
        function = objective(trainable, train, task, layers, output)
        how = how_per_item(function, train)
        parts = [
            checkpoint.rate * _products(function.at(checkpoint.weights), train, test, how, batch) for checkpoint in checkpoints
        ]
    return Tracin(torch.stack(parts).sum(dim=0).numpy(), function.names, how)


def _products(function: Objective, train: Data, test: Data, how: PerItem, batch: int) -> Tensor:
    """∇L(z_test)ᵀ∇L(z), [test point, training point]."""
    of_test = torch.cat(list(gradients(function, test, how, batch)))
    return torch.cat([of_test @ part.T for part in gradients(function, train, how, batch)], dim=1)


def _require(trainable: Trainable, checkpoints: Sequence[Snapshot]) -> None:
    if not checkpoints:
        raise InvalidParameter("there is no checkpoint", where="tracin", expected="one or more")
    shapes = {name: array.shape for name, array in trainable.weights().items()}
    for number, checkpoint in enumerate(checkpoints):
        strange = [name for name, array in checkpoint.weights.items() if shapes.get(name) != array.shape]
        if strange:
            raise InvalidParameter(
                f"checkpoint {number} has {strange[0]}", where="tracin", expected=f"weights of the model: {shapes}"
            )
        if not 0 < checkpoint.rate < float("inf"):
            raise InvalidParameter(
                f"checkpoint {number} has the rate {checkpoint.rate}", where="tracin", expected="a positive number"
            )
