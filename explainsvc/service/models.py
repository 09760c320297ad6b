"""ModelService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from typing import Any

from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.model_service_pb2_grpc import ModelServiceServicer
from explainsvc.codec.models import from_list_request, to_model, to_profile, to_timestamp
from explainsvc.errors import ModelNotFound
from explainsvc.service.backend import Backend, viewer
from explainsvc.service.model_uploads import ModelUploads
from explainsvc.service.pages import from_token, page_size, to_token
from explainsvc.service.profiles import to_kept


class ModelService(ModelServiceServicer):
    """Models: uploaded, listed, inspected, deleted."""

    def __init__(self, backend: Backend, uploads: ModelUploads) -> None:
        self.backend = backend
        self.uploads = uploads

    async def UploadModel(self, request_iterator: AsyncIterator[pb.UploadModelRequest], context: Any) -> Any:
        """Receive the files, load them once in a worker, keep them."""
        return await self.uploads.receive(request_iterator)

    async def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> Any:
        """How far an upload has come."""
        partial = self.backend.whole.partials.find(viewer().name, request.upload_id)
        arrived = await asyncio.to_thread(partial.arrived)
        files = [pb.UploadedFile(file=name, received_bytes=size) for name, size in arrived.items()]
        expires = to_timestamp(partial.touched + self.backend.config.retry_seconds)
        return pb.GetUploadResponse(upload=pb.Upload(upload_id=partial.upload_id, files=files, expire_time=expires))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> Any:
        """One model."""
        return pb.GetModelResponse(model=to_model(self.backend.store.model(request.digest)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> Any:
        """A page of models."""
        wanted, size = from_list_request(request), page_size(request.page_size)
        after = from_token(request, (float, str) if wanted.by_time else (str,))
        models = await asyncio.to_thread(self.backend.store.models, wanted, after, size + 1)
        token = ""
        if len(models) > size:
            last = models[size - 1]
            token = to_token(request, (last.created, last.digest) if wanted.by_time else (last.digest,))
        return pb.ListModelsResponse(models=map(to_model, models[:size]), next_page_token=token)

    async def SetModelPreprocessing(self, request: pb.SetModelPreprocessingRequest, context: Any) -> Any:
        """Keep a profile with a model, or none."""
        kept = to_kept(request.preprocessing) if request.HasField("preprocessing") else b""
        await asyncio.to_thread(self.backend.store.set_preprocessing, request.digest, kept)
        return pb.SetModelPreprocessingResponse(model=to_model(self.backend.store.model(request.digest)))

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Any) -> Any:
        """Forget a model."""
        with suppress(ModelNotFound) if request.allow_missing else nullcontext():
            await asyncio.to_thread(self.backend.store.delete, request.digest)
        return pb.DeleteModelResponse()

    async def InspectModel(self, request: pb.InspectModelRequest, context: Any) -> Any:
        """What is in a model."""
        reply = await self.backend.result(request.digest, inspect=request)
        kept = to_profile(self.backend.store.model(request.digest).preprocessing)
        return pb.InspectModelResponse(info=reply.info, preprocessing=kept)
