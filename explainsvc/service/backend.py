"""What all services share: the store, the workers and the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import Message

from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc.codec.beside import whole_reply
from explainsvc.frames import Parts
from explainsvc.jobs import Pool
from explainsvc.service.calls import RECEIVED
from explainsvc.service.config import Config
from explainsvc.service.principals import caller
from explainsvc.service.profiles import fill
from explainsvc.store import Store, StoredModel, View, Viewer

AUDIT = "audit"
CHUNK = 2**20
"""Bytes a message of a streamed result: well below the 4 MB that every client accepts."""


@dataclass(frozen=True)
class Backend:
    """The store, the workers and the settings of one server."""

    whole: Store
    pool: Pool
    config: Config

    @property
    def store(self) -> View:
        """What the caller that is being answered may see of the store."""
        return self.whole.seen_by(viewer())

    def model(self, digest: str) -> StoredModel:
        """A stored model of the caller that is being answered; ModelNotFound."""
        return self.store.model(digest)

    async def job(self, digest: str, by: Viewer | None = None, **work: Message) -> Job:
        """Work on a stored model of the caller, or of another viewer; ModelNotFound when there is none, QueueFull.

        Pictures without a profile get that of the model; those of an audit have it since it was accepted.
        """
        ((kind, request),) = work.items()
        job, _ = await self._without_request(digest, by, kind, request)
        getattr(job, kind).CopyFrom(request)  # once, a constructor would do so twice
        return job

    async def result(self, digest: str, **work: Message) -> Reply:
        """The last reply to work on a stored model of the caller, see ``job``; raises whatever it ended in."""
        return whole_reply(*await self.answer(digest, **work))

    async def answer(self, digest: str, **work: Message) -> tuple[Reply, Parts]:
        """See ``result``; the values of an explanation may lie beside it.

        A request that is the call's own goes to the worker as the bytes that it came as.
        """
        ((kind, request),) = work.items()
        job, filled = await self._without_request(digest, None, kind, request)
        received = RECEIVED.get()
        if received.message is request and not filled:
            return await self.pool.answer(job, received.data)
        getattr(job, kind).CopyFrom(request)
        return await self.pool.answer(job)

    async def _without_request(self, digest: str, by: Viewer | None, kind: str, request: Message) -> tuple[Job, bool]:
        """The job, and whether pictures of the request were given a profile."""
        self.pool.require_room()
        view = self.whole.seen_by(by or viewer())
        job = Job(model_folder=str(view.known_folder(digest) or await asyncio.to_thread(view.folder, digest)))
        getattr(job, kind).SetInParent()
        return job, kind != AUDIT and fill(request, partial(view.model, digest))


def viewer() -> Viewer:
    """The caller that is being answered, as the store knows it."""
    principal = caller()
    return Viewer(principal.owner, principal.may("admin"))


def chunks(data: bytes) -> Iterator[bytes]:
    """The data in pieces that fit a message; one empty piece when there is none."""
    for start in range(0, max(len(data), 1), CHUNK):
        yield data[start : start + CHUNK]
