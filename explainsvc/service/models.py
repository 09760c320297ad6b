"""ModelService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.model_service_pb2_grpc import ModelServiceServicer
from explainpb.worker.v1.worker_pb2 import Job, ValidateWork
from explainsvc.errors import InvalidInput, Violation
from explainsvc.service.backend import Backend
from explainsvc.service.principals import caller
from explainsvc.store import StoredModel
from explainsvc.uploads import Announced, Upload, receiving

PAGE, LARGEST_PAGE = 100, 1000
LONGEST_NAME = 200


class ModelService(ModelServiceServicer):
    """Models: uploaded, listed, inspected, deleted."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def UploadModel(self, request_iterator: AsyncIterator[pb.UploadModelRequest], context: Any) -> Any:
        """Receive the files, load them once in a worker, keep them."""
        return pb.UploadModelResponse(model=to_model(await uploaded(self.backend, request_iterator)))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> Any:
        """One model."""
        return pb.GetModelResponse(model=to_model(self.backend.store.model(request.digest)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> Any:
        """A page of models; the token is the last digest of the page before."""
        size = min(request.page_size, LARGEST_PAGE) if request.page_size > 0 else PAGE
        models = await asyncio.to_thread(self.backend.store.models, request.page_token, size + 1)
        token = models[size - 1].digest if len(models) > size else ""
        return pb.ListModelsResponse(models=[to_model(model) for model in models[:size]], next_page_token=token)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Any) -> Any:
        """Forget a model."""
        await asyncio.to_thread(self.backend.store.delete, request.digest)
        return pb.DeleteModelResponse()

    async def InspectModel(self, request: pb.InspectModelRequest, context: Any) -> Any:
        """What is in a model."""
        reply = await self.backend.pool.result(self.backend.job(request.digest, inspect=request))
        return pb.InspectModelResponse(info=reply.info)


def to_model(model: StoredModel) -> pb.Model:
    """The message of a stored model."""
    return pb.Model(
        digest=model.digest,
        name=model.name,
        size_bytes=model.size_bytes,
        create_time=to_timestamp(model.created),
        external_data=model.external_data,
    )


def to_timestamp(seconds: float) -> Timestamp:
    """The message of a time, in microseconds."""
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1e6))
    return timestamp


async def uploaded(backend: Backend, requests: AsyncIterator[pb.UploadModelRequest]) -> StoredModel:
    """Receive, validate and keep a model; nothing stays of one that is refused."""
    header = await _header(requests)
    with backend.store.incoming() as folder:
        with receiving(folder / "files", _announced(header), backend.config.max_upload_bytes) as upload:
            await _receive(upload, requests)
            await asyncio.to_thread(upload.finish)
        reply = await backend.pool.result(Job(model_folder=str(folder / "files"), validate=ValidateWork()))
        if caller().may("admin"):
            backend.pool.quarantine.release(reply.digest)
        return await asyncio.to_thread(backend.store.keep, folder, reply.digest, header.name[:LONGEST_NAME])


async def _header(requests: AsyncIterator[pb.UploadModelRequest]) -> pb.UploadHeader:
    async for request in requests:
        if request.WhichOneof("part") == "header":
            return request.header
        break
    raise InvalidInput(
        "the upload does not begin with its header",
        violations=[Violation("header", "expected in the first message of the stream")],
    )


def _announced(header: pb.UploadHeader) -> list[Announced]:
    """The model itself first, under the empty name."""
    external = [Announced(file.name, file.size_bytes, file.sha256) for file in header.external_data]
    return [Announced("", header.size_bytes, header.sha256), *external]


async def _receive(upload: Upload, requests: AsyncIterator[pb.UploadModelRequest]) -> None:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            violation = Violation("chunk", "expected in every message after the first")
            raise InvalidInput("the upload has a message that is no chunk", violations=[violation])
        upload.write(request.chunk.file, request.chunk.data)
