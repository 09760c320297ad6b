"""The models of a worker: kept from earlier jobs, or handed over by the server as open files, for it can open none."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import explainsvc
from explainpb.worker.v1.worker_pb2 import Reply, Wanted
from explainsvc.errors import ModelNotFound
from explainsvc.model import Model
from explainsvc.spans import span
from explainsvc.store import MODEL_FILE
from explainsvc.workers.kept import Kept

LONGEST_LIST = 2**17
"""Bytes of the names of the files in one message."""
MOST_FILES = 64
Send = Callable[[Reply], None]


@dataclass(frozen=True)
class Models:
    """Where models come from: those that are kept, and the socket that brings the files of others."""

    kept: Kept
    files: socket.socket


def loaded(folder: str, models: Models, send: Send) -> Model:
    """The model of a stored folder, kept for the next job."""
    digest = Path(folder).parent.name
    return models.kept.get(digest) or models.kept.add(digest, read(models, send))


def read(models: Models, send: Send) -> Model:
    """A model that the server hands over; as bytes, because no path is anybody's business in an error."""
    with span("load"):
        send(Reply(wanted=Wanted()))
        files = _files(models.files)
        return explainsvc.load(files.pop(MODEL_FILE), external_data=files)


def _files(channel: socket.socket) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    while names := _names(message := _received(channel)):
        for name, descriptor in zip(names, message[1], strict=True):
            with os.fdopen(descriptor, "rb") as file:
                files[name] = file.read()
    return files


def _received(files: socket.socket) -> tuple[bytes, list[int]]:
    names, descriptors, _, _ = socket.recv_fds(files, LONGEST_LIST, MOST_FILES)
    return names, descriptors


def _names(message: tuple[bytes, list[int]]) -> list[str]:
    names: list[str] | None = json.loads(message[0])
    if names is None:
        raise ModelNotFound("the model was deleted while the request waited", to_do="Upload it again")
    return names
