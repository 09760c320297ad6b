"""Uploads of models: received, validated in a worker, kept; those with an id go on after their stream broke."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from explainpb.v1 import model_service_pb2 as pb
from explainpb.worker.v1.worker_pb2 import Job, ValidateWork
from explainsvc import errors, uploads
from explainsvc.codec.models import to_model
from explainsvc.errors import InvalidInput, RequestIdReused, Violation
from explainsvc.service.backend import Backend, viewer
from explainsvc.service.principals import caller
from explainsvc.store import MODEL_FILE, Asked, Partial, StoredFile, StoredModel
from explainsvc.uploads import Announced, Upload, receiving

LOG = logging.getLogger(__name__)
LONGEST_NAME = 200
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
SWEEP_SECONDS = 60.0
REFUSALS = (
    errors.ModelMalformed, errors.ModelUnsupported, errors.ModelLimitExceeded, errors.ExternalDataForbidden,
    errors.UploadDigestMismatch,
)  # fmt: skip
"""What the same bytes would end in again: nothing of them is kept."""
SMALL = 2**16
"""Bytes of a chunk that are faster written than handed to a thread."""
Requests = AsyncIterator[pb.UploadModelRequest]


@dataclass(eq=False)
class Stream:
    """A stream that brings an upload, or the rest of one; ``complete`` once nothing is missing."""

    complete: bool = False


@dataclass(eq=False)
class ModelUploads:
    """The uploads that this server receives.

    Attributes:
        backend: The store and the workers.
        streams: The stream that writes to each folder: the latest of its upload.
    """

    backend: Backend
    streams: dict[str, Stream] = field(default_factory=dict)

    async def receive(self, requests: Requests) -> pb.UploadModelResponse:
        """Receive, validate and keep a model; nothing stays of one that is refused.

        Raises:
            InvalidInput: The header or the stream is not usable.
            RequestIdReused: One of its ids belongs to another upload, or a later stream goes on with this one.
            StoreFull: There is no room for it.
        """
        header = await _header(requests)
        files = _checked(header, self.backend.config.max_upload_bytes)
        asked = Asked(viewer().name, "UploadModel", header.request_id, _body(header))
        answer = await asyncio.to_thread(self.backend.whole.answered, asked)
        if answer is not None:
            return pb.UploadModelResponse.FromString(answer)
        size = sum(file.size_bytes for file in files)
        self.backend.whole.models.check_room(size)
        begin = self.backend.whole.partials.begin
        partial = await asyncio.to_thread(begin, asked.owner, header.upload_id, asked.body, size)
        async with self._stream(partial) as stream:
            await self._complete(partial, stream, files, requests)
            model = await self._validated(partial, header, size)
            return pb.UploadModelResponse(model=await self._kept(partial, model, files, asked, header.validate_only))

    @asynccontextmanager
    async def _stream(self, partial: Partial) -> AsyncIterator[Stream]:
        """This stream is the one that writes; afterwards the bytes stay only for one that may go on."""
        stream = self.streams[partial.folder.name] = Stream()
        gone = not partial.resumable()
        try:
            yield stream
            gone = True
        except REFUSALS:
            gone = gone or stream.complete
            raise
        finally:
            if self.streams.get(partial.folder.name) is stream:
                del self.streams[partial.folder.name]
                if gone:
                    await asyncio.shield(asyncio.to_thread(self.backend.whole.partials.drop, partial))

    async def _complete(self, partial: Partial, stream: Stream, files: list[Announced], requests: Requests) -> None:
        """All bytes are there, are those announced, and are on disk."""
        with receiving(partial.folder / "files", files) as upload:
            await asyncio.to_thread(upload.resume)
            async for request in requests:
                self._check_latest(partial, stream)
                await _take(upload, request)
            self._check_latest(partial, stream)
            stream.complete = not upload.missing()
            await asyncio.to_thread(upload.finish)

    def _check_latest(self, partial: Partial, stream: Stream) -> None:
        if self.streams.get(partial.folder.name) is not stream:
            raise RequestIdReused("a later stream goes on with this upload", where="upload_id")

    async def _validated(self, partial: Partial, header: pb.UploadHeader, size: int) -> StoredModel:
        """The model as a worker knows it, to be kept now."""
        reply = await self.backend.pool.result(Job(model_folder=str(partial.folder / "files"), validate=ValidateWork()))
        if caller().may("admin"):
            self.backend.pool.quarantine.release(reply.digest)
        external = tuple(file.name for file in header.external_data)
        return StoredModel(reply.digest, header.name[:LONGEST_NAME], size, round(time.time(), 6), external)

    async def _kept(
        self, partial: Partial, model: StoredModel, files: list[Announced], asked: Asked, validate_only: bool
    ) -> pb.Model:
        if validate_only:
            unkept = to_model(model)
            unkept.ClearField("create_time")
            return unkept
        stored = [StoredFile(file.name or MODEL_FILE, file.size_bytes, file.sha256.lower()) for file in files]

        def answer(kept: StoredModel) -> bytes:
            return pb.UploadModelResponse(model=to_model(kept)).SerializeToString()

        keeping = asyncio.ensure_future(
            asyncio.to_thread(self.backend.whole.models.keep, partial.folder, model, stored, asked, answer)
        )
        try:
            return to_model(await asyncio.shield(keeping))
        except asyncio.CancelledError:  # its thread goes on: nobody may drop the folder under its hands
            await asyncio.wait([keeping])
            raise

    async def sweep(self) -> None:
        """Until cancelled: every minute, what has been kept for long enough goes."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await asyncio.to_thread(self.backend.whole.sweep, frozenset(self.streams))
            except Exception:  # the next minute may do better, and the server answers meanwhile
                LOG.exception("the store could not be swept")


@asynccontextmanager
async def receiving_uploads(backend: Backend) -> AsyncIterator[ModelUploads]:
    """The uploads of a server, whose store is swept meanwhile."""
    received = ModelUploads(backend)
    sweeping = asyncio.create_task(received.sweep())
    try:
        yield received
    finally:
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping


async def _header(requests: Requests) -> pb.UploadHeader:
    async for request in requests:
        if request.WhichOneof("part") == "header":
            return request.header
        break
    raise InvalidInput(
        "the upload does not begin with its header",
        violations=[Violation("header", "expected in the first message of the stream")],
    )


def _checked(header: pb.UploadHeader, max_bytes: int) -> list[Announced]:
    """What is announced, the model itself first, under the empty name."""
    external = [Announced(file.name, file.size_bytes, file.sha256) for file in header.external_data]
    files = [Announced("", header.size_bytes, header.sha256), *external]
    uploads.check(files, max_bytes)
    for name in ("upload_id", "request_id"):
        check_id(f"header.{name}", getattr(header, name))
    return files


def check_id(field: str, value: str) -> None:
    """An id that a caller chose, if it chose one, is of the right form; InvalidInput otherwise."""
    if value and ID.fullmatch(value) is None:
        violation = Violation(field, f'is {value[:80]!r}, expected 1 to 64 letters, digits, "-" or "_"')
        raise InvalidInput("an id is not usable", violations=[violation], to_do="Take a random UUID")


def _body(header: pb.UploadHeader) -> str:
    """What the header asks for, whatever its ids are."""
    whole = pb.UploadHeader()
    whole.CopyFrom(header)
    whole.ClearField("upload_id")
    whole.ClearField("request_id")
    return hashlib.sha256(whole.SerializeToString(deterministic=True)).hexdigest()


async def _take(upload: Upload, request: pb.UploadModelRequest) -> None:
    if request.WhichOneof("part") != "chunk":
        violation = Violation("chunk", "expected in every message after the first")
        raise InvalidInput("the upload has a message that is no chunk", violations=[violation])
    chunk = request.chunk
    offset = chunk.offset if chunk.HasField("offset") else None
    if len(chunk.data) <= SMALL:
        upload.write(chunk.file, chunk.data, offset)
    else:
        await asyncio.to_thread(upload.write, chunk.file, chunk.data, offset)
