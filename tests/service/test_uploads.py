"""Uploads over gRPC: validated, repeated, gone on with after their stream or their server broke; pages of what is stored."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from explainpb.v1 import audit_service_pb2 as audit_pb
from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc import errors
from explainsvc.client import Client
from explainsvc.codec.tensors import to_named
from explainsvc.graph.load import digest_of
from explainsvc.service.config import Config
from explainsvc.service.server import background
from explainsvc.service.status import from_rpc_error
from explainsvc.upload_client import announced, messages
from tests.service import models
from tests.service.processes import server_process, wait_for


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    """A plain channel."""
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> ModelServiceStub:
    """The model service without this project's client."""
    return ModelServiceStub(channel)


def variant(text: str, size: int = 0) -> bytes:
    """A model whose bytes are its own, at least so many of them."""
    return models.linear() + onnx.ModelProto(doc_string=text + "x" * size).SerializeToString()


def error_of(call: Any, *arguments: Any) -> errors.ExplainsvcError:
    """The typed error that a call ends in."""
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments)
    return from_rpc_error(error.value, "")


def sent(header: pb.UploadHeader, data: bytes, received: int = 0) -> Iterator[pb.UploadModelRequest]:
    """The messages of an upload of one file."""
    return messages(header, {"": data}, {"": received})


def test_validating_stores_nothing(stub: ModelServiceStub, client: Client) -> None:
    """What would be stored is told, what would be refused is refused, and nothing is stored."""
    data = variant("validated")
    header = announced("m", data, {})
    header.validate_only = True
    model = stub.UploadModel(sent(header, data)).model
    assert (model.digest, model.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert not model.HasField("create_time")
    assert model.digest not in {listed["digest"] for listed in client.list_models()}
    header = announced("m", b"zebra", {})
    header.validate_only = True
    assert isinstance(error_of(stub.UploadModel, sent(header, b"zebra")), errors.ModelMalformed)


def test_a_repeated_upload_has_the_same_answer(stub: ModelServiceStub) -> None:
    """The same request with the same id is answered as before, even when the model has gone; another one is refused."""
    data = variant("repeated")
    header = announced("m", data, {})
    first = stub.UploadModel(sent(header, data))
    stub.DeleteModel(pb.DeleteModelRequest(digest=first.model.digest))
    assert stub.UploadModel(iter([pb.UploadModelRequest(header=header)])) == first
    header.name = "another"
    with pytest.raises(grpc.RpcError) as error:
        stub.UploadModel(sent(header, data))
    assert error.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert isinstance(from_rpc_error(error.value, ""), errors.RequestIdReused)


def test_an_upload_goes_on(stub: ModelServiceStub, address: str) -> None:
    """Of an upload that stopped in the middle the rest is enough; wrong offsets and other bytes are refused."""
    data = variant("resumed", 3_000_000)
    header = announced("m", data, {})
    header.ClearField("request_id")
    half = [pb.UploadModelRequest(header=header), pb.UploadModelRequest(chunk=pb.UploadChunk(data=data[:1_500_000]))]
    assert isinstance(error_of(stub.UploadModel, iter(half)), errors.UploadDigestMismatch)
    upload = stub.GetUpload(pb.GetUploadRequest(upload_id=header.upload_id)).upload
    assert [(file.file, file.received_bytes) for file in upload.files] == [("", 1_500_000)]
    assert upload.expire_time.seconds > 1_700_000_000
    wrong = error_of(stub.UploadModel, sent(header, data, 1_400_000))
    assert [violation.field for violation in wrong.violations] == ["chunk.offset"]
    other = pb.UploadHeader()
    other.CopyFrom(header)
    other.sha256 = "0" * 64
    assert isinstance(error_of(stub.UploadModel, sent(other, data)), errors.RequestIdReused)
    assert stub.UploadModel(sent(header, data, 1_500_000)).model.digest == hashlib.sha256(data).hexdigest()
    with pytest.raises(grpc.RpcError) as gone:
        stub.GetUpload(pb.GetUploadRequest(upload_id=header.upload_id))
    status = status_pb2.Status.FromString(dict(gone.value.trailing_metadata())["grpc-status-details-bin"])
    assert any(detail.Is(error_details_pb2.ResourceInfo.DESCRIPTOR) for detail in status.details)


def test_bytes_that_are_not_those_announced_do_not_stay(stub: ModelServiceStub) -> None:
    """An upload that is complete and wrong cannot go on: it begins again."""
    data = variant("right", 100_000)
    header = announced("m", data, {})
    wrong = data[:-1] + b"y"
    assert isinstance(error_of(stub.UploadModel, sent(header, wrong)), errors.UploadDigestMismatch)
    assert isinstance(error_of(stub.GetUpload, pb.GetUploadRequest(upload_id=header.upload_id)), errors.UploadNotFound)
    assert stub.UploadModel(sent(header, data)).model.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("bad", ["a b", "../x", "é", "x" * 65, ".x"])
def test_ids_have_a_form(stub: ModelServiceStub, channel: grpc.Channel, bad: str) -> None:
    """Ids that are no plain words are refused by name."""
    for field in ("upload_id", "request_id"):
        header = announced("m", b"x", {})
        setattr(header, field, bad)
        assert [v.field for v in error_of(stub.UploadModel, sent(header, b"x")).violations] == [f"header.{field}"]
    create = AuditServiceStub(channel).CreateAudit
    request = audit_pb.CreateAuditRequest(request_id=bad)
    assert [v.field for v in error_of(lambda: list(create(request))).violations] == ["request_id"]


def test_a_repeated_audit_is_the_same(channel: grpc.Channel, client: Client, digest: str) -> None:
    """The same audit with the same id is the one that was made before, running or ended; another one is refused."""
    audits = AuditServiceStub(channel)
    request = audit_pb.CreateAuditRequest(
        model_digest=digest, inputs=to_named(models.image(64)), methods=["gradient", "random"], request_id="one-audit"
    )
    before = len(client.audits.list())
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(lambda _: list(audits.CreateAudit(request)), range(2))
    third = list(audits.CreateAudit(request))
    assert len({events[0].started.audit_id for events in (first, second, third)}) == 1
    assert first[-1].finished == second[-1].finished == third[-1].finished
    assert len(client.audits.list()) == before + 1
    request.seed = 9
    assert isinstance(error_of(lambda: list(audits.CreateAudit(request))), errors.RequestIdReused)


def test_deleting_twice(stub: ModelServiceStub) -> None:
    """What is gone is NOT_FOUND, unless that is all the same to the caller."""
    request = pb.DeleteModelRequest(digest="0" * 64)
    assert isinstance(error_of(stub.DeleteModel, request), errors.ModelNotFound)
    request.allow_missing = True
    stub.DeleteModel(request)


def pages(stub: ModelServiceStub, between: list[Any], **fields: Any) -> list[str]:
    """Names of the models of a list, two a page; something happens after each of the first pages."""
    token, names = None, list[str]()
    while token != "":
        page = stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token, name_prefix="paged-", **fields))
        names += [model.name for model in page.models]
        token = page.next_page_token
        if between:
            between.pop(0)()
    return names


def test_pages_are_stable(stub: ModelServiceStub) -> None:
    """Whatever is stored or deleted between pages, every other model is listed once, in the order asked for."""
    made = {}

    def make(name: str) -> pb.Model:
        data = variant(name)
        made[name] = stub.UploadModel(sent(announced(name, data, {}), data)).model
        return made[name]

    def drop(name: str) -> None:
        stub.DeleteModel(pb.DeleteModelRequest(digest=made[name].digest))

    names = [f"paged-{number}" for number in range(5)]
    for name in names:
        make(name)
    oldest, newest = pb.MODEL_ORDER_OLDEST_FIRST, pb.MODEL_ORDER_NEWEST_FIRST
    assert pages(stub, []) == sorted(names, key=lambda name: made[name].digest)
    assert pages(stub, [lambda: drop("paged-1")], order=oldest) == names
    assert pages(stub, [lambda: make("paged-5"), lambda: drop("paged-5")], order=newest) == [names[k] for k in (4, 3, 2, 0)]
    third = made["paged-2"].create_time
    assert pages(stub, [], order=oldest, created_from=third) == names[2:]
    assert pages(stub, [], order=oldest, created_before=third) == names[:1]
    assert pages(stub, [], order=oldest, created_before=Timestamp(seconds=-(2**62), nanos=-5)) == []


@pytest.mark.parametrize("token", ["zebra", "AAAA", "W10", "é", "W251bGxd", "x" * 5000])
def test_what_is_no_token(stub: ModelServiceStub, channel: grpc.Channel, token: str) -> None:
    """A token that the server did not make is refused, by every list."""
    audits = AuditServiceStub(channel)
    for error in (
        error_of(stub.ListModels, pb.ListModelsRequest(page_token=token)),
        error_of(audits.ListAudits, audit_pb.ListAuditsRequest(page_token=token)),
    ):
        assert [violation.field for violation in error.violations] == ["page_token"]


def test_tokens_belong_to_their_list(stub: ModelServiceStub, client: Client, digest: str) -> None:
    """A token of another order or filter is refused, and so is a negative page."""
    client.upload(variant("a second one"))
    token = stub.ListModels(pb.ListModelsRequest(page_size=1)).next_page_token
    assert token
    assert stub.ListModels(pb.ListModelsRequest(page_size=3, page_token=token)).models
    for fields in ({"order": pb.MODEL_ORDER_OLDEST_FIRST}, {"name_prefix": "m"}):
        refused = error_of(stub.ListModels, pb.ListModelsRequest(page_token=token, **fields))
        assert [violation.field for violation in refused.violations] == ["page_token"]
    assert [v.field for v in error_of(stub.ListModels, pb.ListModelsRequest(page_size=-1)).violations] == ["page_size"]


def test_a_killed_server_has_what_had_arrived(tmp_path: Path) -> None:
    """The client goes on by itself after ``kill -9`` of the server and its restart, without sending all of it again."""
    data, files = models.external()
    files = {name: content + bytes(100_000_000) for name, content in files.items()}

    def arrived() -> int:
        return sum(path.stat().st_size for path in tmp_path.glob("partial/*/files/*"))

    with server_process(tmp_path) as (first, address), Client(address) as client, ThreadPoolExecutor() as threads:
        uploading = threads.submit(client.upload, data, files)
        wait_for(lambda: arrived() > 10_000_000)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        (inode,) = [path.stat().st_ino for path in tmp_path.glob("partial/*/files/weights.bin")]
        assert arrived() < 100_000_000
        with background(Config(address=address, store=tmp_path, workers=1, worker_threads=1)):
            assert uploading.result(timeout=60) == digest_of(data, files)
            (stored,) = tmp_path.glob("models/*/files/weights.bin")
            assert stored.stat().st_ino == inode
            assert stored.read_bytes() == files["weights.bin"]
            assert [model["digest"] for model in client.list_models()] == [digest_of(data, files)]
