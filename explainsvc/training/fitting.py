"""Training from random initialisation: declared, seeded, told epoch by epoch, and resumed bit for bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from explainsvc.cards import param
from explainsvc.errors import InvalidParameter, NotTrainable, Violation
from explainsvc.graph.load import digest_of
from explainsvc.method import silent
from explainsvc.training.checkpoints import Checkpoint, State, keep, kept
from explainsvc.training.data import Data, Task, labels_like, require_fitting
from explainsvc.training.initialisation import initial_numbers, with_numbers
from explainsvc.training.trainable import Trainable
from explainsvc.weights import DISTRIBUTIONS, seed_sequence

OPTIMISERS, SCHEDULES = ("adam", "sgd"), ("constant", "cosine", "step")
EVALUATED = 512
"""Items of a forward pass without gradients."""


@dataclass(frozen=True)
class Settings:
    """How a model is trained; with the data, the model and the number of torch's threads it settles every bit of the result."""

    seed: int = param(0, "int", "of the first weights, the order of the items, and the module's own random numbers", low=0)
    distribution: str = param("he_normal", "str", "what the first weights are drawn from", choices=DISTRIBUTIONS)
    optimiser: str = param("adam", "str", "adam (Kingma & Ba 2015) or sgd", choices=OPTIMISERS)
    learning_rate: float = param(1e-3, "float", "at the first epoch", low=0)
    momentum: float = param(0.9, "float", "of sgd; the β₁ of adam", low=0, high=1)
    weight_decay: float = param(0.0, "float", "times the weights is added to their gradient", low=0)
    schedule: str = param("constant", "str", "of the learning rate", choices=SCHEDULES)
    step_epochs: int = param(30, "int", "epochs between two steps of the schedule step", low=1)
    step_factor: float = param(0.1, "float", "by which each multiplies the learning rate", low=0, high=1)
    batch_size: int = param(64, "int", "items of a step, at most", low=1)
    epochs: int = param(100, "int", "at most", low=1)
    stop_accuracy: float = param(0.0, "float", "training accuracy at which training ends; 0: none does", low=0, high=1)
    patience: int = param(0, "int", "epochs without a lower validation loss after which training ends; 0: none do", low=0)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0; cosine: Loshchilov & Hutter 2017, eq. 5, without restarts."""
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.learning_rate * (self.step_factor ** (epoch // self.step_epochs) if self.schedule == "step" else 1.0)


@dataclass(frozen=True)
class Record:
    """What an epoch came to, measured after it and without dropout; NaN where there is no validation set or no accuracy."""

    epoch: int
    rate: float
    loss: float
    accuracy: float
    validation_loss: float = math.nan
    validation_accuracy: float = math.nan


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes:
        trainable: With the trained numbers: those of the last epoch, or, with ``patience``, of the best one.
        records: Of every epoch.
        ending: ``accuracy`` or ``patience`` where the training ended early, else ``epochs``.
        chosen: The epoch whose numbers these are.
        threads: That torch computed with: other numbers of threads may add in another order.
    """

    trainable: Trainable = field(repr=False)
    records: tuple[Record, ...]
    ending: str
    chosen: Record
    threads: int


Course = Generator[Record, None, Fitted]


def fit(
    trainable: Trainable, data: Data, task: Task, settings: Settings, *, output: str = "", validation: Data | None = None,
    folder: Path | None = None, checkpoint_seconds: float = 1.0, progress: Callable[[Record], None] = silent,
) -> Fitted:  # fmt: skip
    """Trains a copy of the model from random initialisation.

    Args:
        trainable: Not changed. What it has learned is forgotten, but for what normal_same_std and permute take from it.
        data: What is learned.
        task: The loss, and what labels are.
        settings: All else.
        output: The output that is held against the labels; by default the first.
        validation: What ``patience`` looks at.
        folder: Keeps checkpoints; the same call goes on from there, and ends at the same bits.
        checkpoint_seconds: Between two checkpoints, which are made at the end of epochs; 0: after each. The last is always made.
        progress: Called with the record of each epoch that this call trains.

    Raises:
        InvalidInput: The data do not fit the model, are too few, or have one label only.
        InvalidParameter: Settings that contradict the data.
        NotTrainable: Nothing learns, or the loss is no number any more; the folder keeps the last checkpoint.
        JournalMismatch: The folder holds another training.
    """
    course = epochs(
        trainable, data, task, settings, output=output, validation=validation, folder=folder,
        checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    while True:
        try:
            progress(next(course))
        except StopIteration as end:
            found: Fitted = end.value
            return found


def epochs(
    trainable: Trainable, data: Data, task: Task, settings: Settings, *, output: str = "", validation: Data | None = None,
    folder: Path | None = None, checkpoint_seconds: float = 1.0,
) -> Course:  # fmt: skip
    """The records of :func:`fit` as they come, and what it returns at the end; closing the generator ends the training."""
    asked = _Asked(data, task, settings, output or trainable.outputs[0], validation)
    own = with_numbers(trainable, initial_numbers(trainable, settings.distribution, settings.seed))
    _require(asked, own)
    question = asked.question(trainable)
    optimiser = _optimiser(own.module, settings)
    before = None if folder is None else kept(folder, question)
    best: State = {}
    records: list[Record] = []
    ending = ""
    if before is not None:
        own.module.load_state_dict(before.module)
        optimiser.load_state_dict(before.optimiser)
        best, records, ending = before.best, [Record(**fields) for fields in before.records], before.ending  # type: ignore[arg-type]
    kept_at = perf_counter()
    while not ending:
        with _reproducible(settings.seed, len(records)):
            _pass(own, optimiser, asked, len(records))
        records.append(_record(own, asked, len(records)))
        if settings.patience and _chosen(settings, records) is records[-1]:
            best = {name: tensor.detach().clone() for name, tensor in own.module.state_dict().items()}
        ending = _ending(settings, records)
        if folder is not None and (ending or perf_counter() - kept_at >= checkpoint_seconds):
            fields = [asdict(record) for record in records]
            keep(folder, Checkpoint(question, own.module.state_dict(), optimiser.state_dict(), fields, best, ending))
            kept_at = perf_counter()
        yield records[-1]
    if best:
        own.module.load_state_dict(best)
    own.module.eval()
    return Fitted(own, tuple(records), ending, _chosen(settings, records), torch.get_num_threads())


@dataclass(frozen=True)
class _Asked:
    """The arguments of a training."""

    data: Data
    task: Task
    settings: Settings
    output: str
    validation: Data | None

    def question(self, trainable: Trainable) -> str:
        """What a checkpoint belongs to."""
        asked = {
            "model": digest_of(trainable.graph.SerializeToString(deterministic=True)),
            "data": self.data.digests(),
            "validation": None if self.validation is None else self.validation.digests(),
            "task": [self.task.name, self.task.labels, self.task.threshold],
            "settings": asdict(self.settings),
            "output": self.output,
        }
        return json.dumps(asked, sort_keys=True)


def _require(asked: _Asked, trainable: Trainable) -> None:
    violations = []
    if asked.settings.patience and asked.validation is None:
        violations.append(Violation("settings.patience", "needs a validation set"))
    if asked.settings.stop_accuracy and asked.task.labels == "numbers":
        violations.append(Violation("settings.stop_accuracy", "needs labels that can be met"))
    if violations:
        raise InvalidParameter("the settings do not fit the training", where="training", violations=violations)
    for data in (asked.data, asked.validation):
        if data is not None:
            require_fitting(trainable, data, asked.task, asked.output)


def _optimiser(module: torch.nn.Module, s: Settings) -> torch.optim.Optimizer:
    learned = [p for p in module.parameters() if p.requires_grad]
    if s.optimiser == "sgd":
        return torch.optim.SGD(learned, s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay)
    return torch.optim.Adam(learned, s.learning_rate, betas=(s.momentum, 0.999), weight_decay=s.weight_decay)


@contextmanager
def _reproducible(seed: int, epoch: int) -> Iterator[None]:
    """torch's random numbers of this epoch, and only algorithms that repeat; as it was before, afterwards.

    What torch draws for itself (dropout) depends on the seed and the epoch alone: a resumed training draws the same.
    """
    determined = torch.are_deterministic_algorithms_enabled()
    drawn = seed_sequence(seed, f"torch/{epoch}").generate_state(1, np.uint32)
    with torch.random.fork_rng([]):
        torch.manual_seed(int(drawn[0]))
        try:
            torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(determined)


def _pass(own: Trainable, optimiser: torch.optim.Optimizer, asked: _Asked, epoch: int) -> None:
    """One pass over the items in a random order, in batches as even as can be: none is left with a single item."""
    data, settings = asked.data, asked.settings
    own.module.train()
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(epoch)
    order = np.random.default_rng(seed_sequence(settings.seed, f"order/{epoch}")).permutation(len(data))
    for items in np.array_split(order, math.ceil(len(data) / settings.batch_size)):
        found = own(data.feeds(items))[asked.output]
        loss = asked.task.loss(found, labels_like(data.labels[items], found, asked.task)).mean()
        if not loss.requires_grad:
            raise NotTrainable("no learned number leads to the output", where=f'training, output "{asked.output}"')
        _require_finite(loss.item(), epoch)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()


def _require_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise NotTrainable(
            f"the loss is {loss} in epoch {epoch}", where="training", expected="a finite loss",
            to_do="Lower the learning rate, or scale the inputs", details={"epoch": str(epoch)},
        )  # fmt: skip


def _record(own: Trainable, asked: _Asked, epoch: int) -> Record:
    sets = [data for data in (asked.data, asked.validation) if data is not None]
    found = [measure(own, data, asked.task, asked.output) for data in sets]
    for loss, _ in found:
        _require_finite(loss, epoch)
    return Record(epoch, asked.settings.rate(epoch), *(number for pair in found for number in pair))


def measure(trainable: Trainable, data: Data, task: Task, output: str = "") -> tuple[float, float]:
    """Mean loss and accuracy of a model as it is, without dropout and with the statistics that were learned.

    The module is left in its mode of evaluation.

    Returns:
        Accuracy is the share of the labels that the output gives; NaN where labels are numbers.
    """
    trainable.module.eval()
    losses, hits = [], []
    with torch.no_grad():
        for start in range(0, len(data), EVALUATED):
            items = slice(start, start + EVALUATED)
            found = trainable(data.feeds(items))[output or trainable.outputs[0]]
            labels = labels_like(data.labels[items], found, task)
            losses.append(task.loss(found, labels).double())
            hits.append(task.hits(found, labels))
    return float(torch.cat(losses).mean()), float(torch.cat(hits).mean())


def _chosen(settings: Settings, records: Sequence[Record]) -> Record:
    """The first of the lowest validation loss, where that is looked at."""
    return min(records, key=lambda record: record.validation_loss) if settings.patience else records[-1]


def _ending(settings: Settings, records: Sequence[Record]) -> str:
    last = records[-1]
    if settings.stop_accuracy and last.accuracy >= settings.stop_accuracy:
        return "accuracy"
    if settings.patience and last.epoch - _chosen(settings, records).epoch >= settings.patience:
        return "patience"
    return "epochs" if len(records) == settings.epochs else ""
