"""What all services share: the store, the workers and the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from explainpb.worker.v1.worker_pb2 import Job
from explainsvc.jobs import Pool
from explainsvc.service.config import Config
from explainsvc.store import Store

CHUNK = 2**20
"""Bytes a message of a streamed result: well below the 4 MB that every client accepts."""


@dataclass(frozen=True)
class Backend:
    """The store, the workers and the settings of one server."""

    store: Store
    pool: Pool
    config: Config

    def job(self, digest: str, **work: object) -> Job:
        """Work on a stored model; ModelNotFound when it is not stored."""
        return Job(model_folder=str(self.store.folder(digest)), **work)  # type: ignore[arg-type]  # one of its oneof


def chunks(data: bytes) -> Iterator[bytes]:
    """The data in pieces that fit a message; one empty piece when there is none."""
    for start in range(0, max(len(data), 1), CHUNK):
        yield data[start : start + CHUNK]
