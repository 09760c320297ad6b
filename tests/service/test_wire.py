"""What other clients may send: messages that the Python client never builds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import grpc
import onnx
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from explainpb.v1 import explanation_service_pb2, model_service_pb2, tensor_pb2
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc.errors import ERRORS
from tests.service import models


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    """A plain gRPC channel, without this project's client."""
    with grpc.insecure_channel(address) as channel:
        yield channel


def status_of(call: pytest.ExceptionInfo[grpc.RpcError]) -> status_pb2.Status:
    """The ``google.rpc.Status`` of a failed call, which must agree with the gRPC code."""
    error: Any = call.value
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert code_pb2.Code.Name(status.code) == error.code().name
    assert status.message == error.details()
    return status


def detail(status: status_pb2.Status, kind: type[Any]) -> Any:
    """The one detail of a kind."""
    (found,) = [any_ for any_ in status.details if any_.Is(kind.DESCRIPTOR)]
    message = kind()
    found.Unpack(message)
    return message


def header(data: bytes, **changes: Any) -> model_service_pb2.UploadModelRequest:
    """A true header, but for the changes."""
    fields = {"name": "m", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | changes
    return model_service_pb2.UploadModelRequest(header=model_service_pb2.UploadHeader(**fields))


def chunk(data: bytes, file: str = "") -> model_service_pb2.UploadModelRequest:
    """A piece of a file."""
    return model_service_pb2.UploadModelRequest(chunk=model_service_pb2.UploadChunk(file=file, data=data))


def file(name: str, data: bytes = b"1234") -> model_service_pb2.ExternalFile:
    """An announced external-data file."""
    return model_service_pb2.ExternalFile(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


DATA = models.embedding()
UPLOADS = {
    "wrong sha256": ("UPLOAD_DIGEST_MISMATCH", "DATA_LOSS", [header(DATA, sha256="0" * 64), chunk(DATA)]),
    "too short": ("UPLOAD_DIGEST_MISMATCH", "DATA_LOSS", [header(DATA), chunk(DATA[:-1])]),
    "too long": ("UPLOAD_DIGEST_MISMATCH", "DATA_LOSS", [header(DATA), chunk(DATA), chunk(b"!")]),
    "no message": ("INVALID_INPUT", "INVALID_ARGUMENT", []),
    "no header": ("INVALID_INPUT", "INVALID_ARGUMENT", [chunk(DATA)]),
    "two headers": ("INVALID_INPUT", "INVALID_ARGUMENT", [header(DATA), header(DATA)]),
    "no sha256": ("INVALID_INPUT", "INVALID_ARGUMENT", [header(DATA, sha256="")]),
    "no size": ("INVALID_INPUT", "INVALID_ARGUMENT", [header(DATA, size_bytes=0)]),
    "over the limit": ("MODEL_LIMIT_EXCEEDED", "FAILED_PRECONDITION", [header(DATA, size_bytes=2**40)]),
    "chunk of another file": ("INVALID_INPUT", "INVALID_ARGUMENT", [header(DATA), chunk(DATA, "other")]),
    **{
        f"external {name!r}": (
            "EXTERNAL_DATA_FORBIDDEN",
            "INVALID_ARGUMENT",
            [header(DATA, external_data=[file(name)]), chunk(DATA)],
        )
        for name in ("../x", "/x", "a/b", ".hidden", "..", "a\\b", "c:x", "a\nb", "model.onnx", "é" * 150)
    },
    "external twice": ("INVALID_INPUT", "INVALID_ARGUMENT", [header(DATA, external_data=[file("a"), file("a")])]),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_bad_uploads(channel: grpc.Channel, name: str) -> None:
    """An upload that is not what it says is refused with its reason, and nothing is stored."""
    reason, code, requests = UPLOADS[name]
    stub = ModelServiceStub(channel)
    listing = model_service_pb2.ListModelsRequest()
    before = stub.ListModels(listing)
    with pytest.raises(grpc.RpcError) as call:
        stub.UploadModel(iter(requests))
    status = status_of(call)
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, code_pb2.Code.Name(status.code)) == (reason, "explainsvc", code)
    assert info.metadata["what"]
    assert stub.ListModels(listing) == before


def test_an_upload_in_many_chunks(channel: grpc.Channel) -> None:
    """Chunks of any size are put together again; the digest is the sha256 of the bytes."""
    data = DATA + onnx.ModelProto(doc_string="new to every server").SerializeToString()  # concatenated messages merge
    pieces = [chunk(data[start : start + 7]) for start in range(0, len(data), 7)]
    response = ModelServiceStub(channel).UploadModel(iter([header(data), *pieces]))
    assert response.model.digest == hashlib.sha256(data).hexdigest()
    assert response.model.name == "m"
    assert response.model.create_time.seconds > 1_700_000_000


def test_pages(channel: grpc.Channel) -> None:
    """ListModels page by page gives every model once, in order."""
    stub = ModelServiceStub(channel)
    for data in (models.linear(), models.loop(), models.labelled()):
        stub.UploadModel(iter([header(data), chunk(data)]))
    digests, token = [], ""
    while True:
        page = stub.ListModels(model_service_pb2.ListModelsRequest(page_size=1, page_token=token))
        digests += [model.digest for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert len(digests) >= 3
    assert digests == sorted(set(digests))


F32 = tensor_pb2.DATA_TYPE_FLOAT32
TENSORS = {
    "no dtype": (tensor_pb2.Tensor(shape=[1], data=b"1234"), 'inputs["x"].dtype'),
    "dtype of another version": (tensor_pb2.Tensor(dtype=99, shape=[1], data=b"1234"), 'inputs["x"].dtype'),
    "too few bytes": (tensor_pb2.Tensor(dtype=F32, shape=[2], data=b"1234"), 'inputs["x"].data'),
    "negative extent": (tensor_pb2.Tensor(dtype=F32, shape=[-1], data=b"1234"), 'inputs["x"].shape'),
    "huge shape": (tensor_pb2.Tensor(dtype=F32, shape=[2**62, 2**62], data=b"1234"), 'inputs["x"].data'),
    "no strings": (tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_STRING, shape=[1]), 'inputs["x"].strings'),
    "not UTF-8": (
        tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_STRING, shape=[1], strings=[b"\xff"]),
        'inputs["x"].strings',
    ),
    "a rank no array has": (tensor_pb2.Tensor(dtype=F32, shape=[1] * 100, data=b"1234"), 'inputs["x"].shape'),
}


@pytest.mark.parametrize("name", TENSORS)
def test_malformed_tensors(channel: grpc.Channel, digest: str, name: str) -> None:
    """A tensor that is no array is refused with the path of the field."""
    tensor, field = TENSORS[name]
    inputs = [tensor_pb2.NamedTensor(name="x", tensor=tensor)]
    request = explanation_service_pb2.ExplainRequest(model_digest=digest, inputs=inputs)
    with pytest.raises(grpc.RpcError) as call:
        ExplanationServiceStub(channel).Explain(request)
    status = status_of(call)
    assert code_pb2.Code.Name(status.code) == "INVALID_ARGUMENT"
    assert [v.field for v in detail(status, error_details_pb2.BadRequest).field_violations] == [field]


def test_all_violations_at_once(channel: grpc.Channel, digest: str) -> None:
    """Two bad tensors are two violations, an input given twice a third."""
    bad = tensor_pb2.Tensor(dtype=F32, shape=[2], data=b"1234")
    good = tensor_pb2.Tensor(dtype=F32, shape=[1], data=b"1234")
    pairs = (("x", bad), ("z", bad), ("w", good), ("w", good))
    inputs = [tensor_pb2.NamedTensor(name=name, tensor=tensor) for name, tensor in pairs]
    request = explanation_service_pb2.ExplainRequest(model_digest=digest, inputs=inputs)
    with pytest.raises(grpc.RpcError) as call:
        ExplanationServiceStub(channel).Explain(request)
    assert len(detail(status_of(call), error_details_pb2.BadRequest).field_violations) == 3


@pytest.mark.parametrize("method", ["ExplanationService/Explain", "AuditService/GetAudit", "ModelService/GetModel"])
def test_what_is_no_message(channel: grpc.Channel, method: str) -> None:
    """Bytes that are no message of the rpc are the caller's error, typed like any other."""
    with pytest.raises(grpc.RpcError) as call:
        channel.unary_unary(f"/explainsvc.v1.{method}", None, None)(b"\xff\xff\xff")
    assert detail(status_of(call), error_details_pb2.ErrorInfo).reason == "INVALID_INPUT"


def test_defaults(channel: grpc.Channel, digest: str) -> None:
    """A request with nothing but a model and inputs is the gradient of each item's largest output."""
    x = models.image()["x"]
    tensor = tensor_pb2.Tensor(dtype=F32, shape=x.shape, data=x.tobytes())
    inputs = [tensor_pb2.NamedTensor(name="x", tensor=tensor)]
    request = explanation_service_pb2.ExplainRequest(model_digest=digest, inputs=inputs)
    attribution = ExplanationServiceStub(channel).Explain(request).attribution
    assert attribution.method == "gradient"
    assert attribution.model_digest == digest
    assert attribution.values[0].tensor.shape == list(x.shape)


def test_not_found_names_the_resource(channel: grpc.Channel) -> None:
    """NOT_FOUND says of what."""
    with pytest.raises(grpc.RpcError) as call:
        ModelServiceStub(channel).GetModel(model_service_pb2.GetModelRequest(digest="0" * 64))
    status = status_of(call)
    assert detail(status, error_details_pb2.ResourceInfo).resource_type == "model"
    assert detail(status, error_details_pb2.ErrorInfo).reason in ERRORS


def test_long_errors_fit_the_headers(channel: grpc.Channel, digest: str) -> None:
    """An error about very many and very long fields still reaches a client with default limits."""
    good = tensor_pb2.Tensor(dtype=F32, shape=[1], data=b"1234")
    inputs = [tensor_pb2.NamedTensor(name=f"{number}é" * 200, tensor=good) for number in range(300)]
    request = explanation_service_pb2.ExplainRequest(model_digest=digest, inputs=inputs)
    with pytest.raises(grpc.RpcError) as call:
        ExplanationServiceStub(channel).Explain(request)
    violations = detail(status_of(call), error_details_pb2.BadRequest).field_violations
    assert violations[-1].description.endswith("more")
