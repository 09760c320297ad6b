"""One retraining of ROAR: a job that depends on a folder alone, for any process on any machine that sees it."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import NotTrainable
from explainsvc.training.checkpoints import replace_file
from explainsvc.training.data import Data, Task
from explainsvc.training.fitting import Settings, fit, measure
from explainsvc.training.removal import Removal, channel_means, replaced
from explainsvc.training.trainable import Trainable

TRAIN, TEST = SETS = ("train", "test")
UNMODIFIED = "unmodified"


@dataclass(frozen=True)
class Retraining:
    """A model trained from random initialisation on a modified set, and measured on the test set, modified alike.

    Attributes:
        folder: Holds the sets, the ranks, and what comes of it; see :mod:`explainsvc.training.roar`.
        build: Makes the model; picklable.
        task: The loss, and what labels are; picklable.
        settings: With the seed of this repetition.
        output: That is held against the labels; "" for the first.
        removal: How the sets are modified; None: not at all.
        repetition: Counted from 0.
        deleted: Modifications of the test set on which the model is measured as well, without being retrained for them.
    """

    folder: Path
    build: Callable[[], Trainable]
    task: Task
    settings: Settings
    output: str
    removal: Removal | None
    repetition: int
    deleted: tuple[Removal, ...] = ()

    @property
    def key(self) -> str:
        """As file names have it; no two jobs of a folder have the same."""
        return f"{UNMODIFIED if self.removal is None else self.removal.key}-{self.repetition}"


@dataclass(frozen=True)
class Outcome:
    """What came of a retraining; NaN, and a note why, where the training did not end well.

    Attributes:
        key: The job's.
        accuracy: On the test set, modified as the training set was.
        epochs: That it took.
        note: Why there is no accuracy; "" where there is one.
        deleted: Key of a removal → accuracy on the test set modified so, without retraining.
    """

    key: str
    accuracy: float
    epochs: int
    note: str
    deleted: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain; NaN becomes None."""
        return asdict(self) | {"accuracy": None if math.isnan(self.accuracy) else self.accuracy}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Outcome:
        """What ``to_json`` wrote."""
        return cls(**{**fields, "accuracy": math.nan if fields["accuracy"] is None else fields["accuracy"]})


def retrain(job: Retraining) -> Outcome:
    """Trains, measures, and keeps what came of it; a job that was finished before is only read.

    Raises:
        ExplainsvcError: As :func:`explainsvc.training.fitting.fit`, but for a loss that is no number: that is an outcome.
    """
    known = outcome_of(job)
    if known is not None:
        return known
    material = Material(job.folder)
    checkpoints = job.folder / "checkpoints" / job.key
    try:
        fitted = fit(
            job.build(), material.data(TRAIN, job.removal), job.task, job.settings, output=job.output, folder=checkpoints
        )
    except NotTrainable as error:
        if "epoch" not in error.details:
            raise
        found = Outcome(job.key, math.nan, int(error.details["epoch"]), str(error), {})
    else:

        def accuracy(removal: Removal | None) -> float:
            return measure(fitted.trainable, material.data(TEST, removal), job.task, job.output)[1]

        deleted = {removal.key: accuracy(removal) for removal in job.deleted}
        found = Outcome(job.key, accuracy(job.removal), len(fitted.records), "", deleted)
    replace_file(_place(job), json.dumps(found.to_json()).encode())
    shutil.rmtree(checkpoints, ignore_errors=True)
    return found


def outcome_of(job: Retraining) -> Outcome | None:
    """What came of a job, where it is finished."""
    path = _place(job)
    return Outcome.from_json(json.loads(path.read_bytes())) if path.is_file() else None


def _place(job: Retraining) -> Path:
    return job.folder / "outcomes" / f"{job.key}.json"


# The folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Material:
    """The sets and ranks in a folder."""

    folder: Path

    @cached_property
    def _removed(self) -> str:
        return str(json.loads((self.folder / "removed.json").read_bytes()))

    def untouched(self, which: str) -> Data:
        """The training or the test set, as it was given."""
        with np.load(self.folder / f"{which}.npz") as file:
            inputs = {name.removeprefix("inputs/"): file[name] for name in file.files if name.startswith("inputs/")}
            return Data(inputs, file["labels"])

    def data(self, which: str, removal: Removal | None) -> Data:
        """The training or the test set, modified."""
        found = self.untouched(which)
        if removal is None:
            return found
        name = self._removed
        means = channel_means((found if which == TRAIN else self.untouched(TRAIN)).inputs[name])
        places = np.load(rank_file(self.folder, removal.estimator, which), mmap_mode="r")
        x = replaced(found.inputs[name], places, np.load(self.folder / "features.npy"), removal, means)
        return replace(found, inputs={**found.inputs, name: x})


def rank_file(folder: Path, estimator: int, which: str) -> Path:
    """Where an estimator's ranks of a set are."""
    return folder / f"ranks-{estimator}-{which}.npy"


def write_material(folder: Path, removed: str, sets: Mapping[str, Data], numbers: Array) -> None:
    """Puts the sets where jobs find them; ``numbers`` are the features of an item's elements."""
    for which, data in sets.items():
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"inputs/{name}": array for name, array in data.inputs.items()}
        np.savez(buffer, **arrays, labels=data.labels)
        replace_file(folder / f"{which}.npz", buffer.getvalue())
    write_array(folder / "features.npy", numbers)
    replace_file(folder / "removed.json", json.dumps(removed).encode())


def write_array(path: Path, array: Array) -> None:
    """As a whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    replace_file(path, buffer.getvalue())
