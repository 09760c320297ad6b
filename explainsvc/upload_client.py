"""The Python client's part for uploads: sent in chunks, and gone on with where the connection broke."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping

import grpc

from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc.audit_client import BROKEN, WAITS

CHUNK = 2**20


def upload(stub: ModelServiceStub, name: str, data: bytes, external: Mapping[str, bytes]) -> str:
    """Store a model; its digest. A broken connection or a server that starts again costs what had not arrived.

    Raises:
        grpc.RpcError: The server refuses it, or is gone for as long as ``WAITS`` last without anything arriving.
    """
    header, files = announced(name, data, external), {"": data, **external}
    waits, before, received = iter(WAITS), 0, dict[str, int]()
    while True:
        try:
            return str(stub.UploadModel(messages(header, files, received)).model.digest)
        except grpc.RpcError as error:
            wait = next(waits, None)
            if wait is None or error.code() not in BROKEN:
                raise
        time.sleep(wait)
        received = _received(stub, header.upload_id) or received
        if sum(received.values()) > before:
            waits, before = iter(WAITS), sum(received.values())


def announced(name: str, data: bytes, external: Mapping[str, bytes]) -> pb.UploadHeader:
    """The header of an upload that can go on, and whose answer can be asked for again."""
    key = uuid.uuid4().hex
    return pb.UploadHeader(
        name=name,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        external_data=[
            pb.ExternalFile(name=file, size_bytes=len(rest), sha256=hashlib.sha256(rest).hexdigest())
            for file, rest in external.items()
        ],
        upload_id=key,
        request_id=key,
    )


def messages(header: pb.UploadHeader, files: Mapping[str, bytes], received: Mapping[str, int]) -> Iterator[pb.UploadModelRequest]:
    """The header, then the files in chunks, but for what has been received."""
    yield pb.UploadModelRequest(header=header)
    for file, content in files.items():
        for start in range(received.get(file, 0), len(content), CHUNK):
            chunk = pb.UploadChunk(file=file, data=content[start : start + CHUNK], offset=start)
            yield pb.UploadModelRequest(chunk=chunk)


def _received(stub: ModelServiceStub, upload_id: str) -> dict[str, int]:
    """Bytes by file; nothing where the server does not know the upload, or does not answer yet."""
    try:
        files = stub.GetUpload(pb.GetUploadRequest(upload_id=upload_id)).upload.files
    except grpc.RpcError as error:
        if error.code() not in {*BROKEN, grpc.StatusCode.NOT_FOUND}:
            raise
        return {}
    return {file.file: file.received_bytes for file in files}
