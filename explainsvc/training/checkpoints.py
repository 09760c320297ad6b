"""Checkpoints of a training: a file that is there as a whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from explainsvc.durable import sync_folder, write_synced
from explainsvc.errors import JournalMismatch, StoreCorrupt

NAME = "checkpoint.pt"
State = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A training after some of its epochs.

    All random numbers of an epoch come from the seed and the epoch's number: there is no generator whose state would have to
    be kept.

    Attributes:
        question: What is trained, on what and how; another training does not go on from here.
        module: The module's tensors.
        optimiser: The optimiser's moments.
        records: Of every finished epoch.
        best: The module's tensors after the epoch with the lowest validation loss; empty where nothing asks for it.
        ending: Why the training has ended; "" while it has not.
    """

    question: str
    module: State
    optimiser: State
    records: list[dict[str, float]]
    best: State
    ending: str = ""


def keep(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint; it is on the disk when this returns."""
    buffer = io.BytesIO()
    torch.save(asdict(checkpoint), buffer)
    replace_file(folder / NAME, buffer.getvalue())


def kept(folder: Path, question: str) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none.

    Only tensors and plain numbers are read: nothing of the file is run.

    Raises:
        JournalMismatch: It is that of another training.
        StoreCorrupt: It cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise StoreCorrupt("the checkpoint cannot be read", where=str(path), to_do="Remove it to train from the start") from error
    if found.question != question:
        raise JournalMismatch(
            "it holds the checkpoint of another training", where=str(path),
            expected="the same model, data and settings", to_do="Give this training a folder of its own",
        )  # fmt: skip
    return found


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in place of what is there: a reader finds the old one or the new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    write_synced(fresh, data)
    fresh.replace(path)
    sync_folder(path.parent)
