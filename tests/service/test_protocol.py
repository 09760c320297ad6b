"""What any gRPC tool relies on: reflection, health, and a client made from nothing but reflection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from explainsvc.model import Model
from tests.service import models

SERVICES = {"explainsvc.v1.ModelService", "explainsvc.v1.ExplanationService", "explainsvc.v1.AuditService"}


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    """A plain channel."""
    with grpc.insecure_channel(address) as channel:
        yield channel


class Reflected:
    """A client that knows nothing of the API but the server's address."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def message(self, name: str) -> Callable[..., Any]:
        """The class of a message."""
        return GetMessageClass(self.pool.FindMessageTypeByName(f"explainsvc.v1.{name}"))

    def call(self, service: str, method: str) -> Callable[..., Any]:
        """An rpc, as a function."""
        found = self.pool.FindServiceByName(f"explainsvc.v1.{service}").FindMethodByName(method)
        request, response = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
        make = self.channel.stream_unary if found.client_streaming else self.channel.unary_unary
        path = f"/explainsvc.v1.{service}/{method}"
        return make(path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)


def test_services_are_listed(channel: grpc.Channel) -> None:
    """Reflection names all services."""
    assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) >= SERVICES


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_has_both_its_names(channel: grpc.Channel, version: str) -> None:
    """The same answers, its own file among them, by which a client could be made."""
    path, service = (
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        f"grpc.reflection.{version}.ServerReflection",
    )
    call = channel.stream_stream(
        path,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    own = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    listed, described = call(iter([listing, own]))
    assert {each.name for each in listed.list_services_response.service} >= {*SERVICES, service}
    file = FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    pool = DescriptorPool()
    pool.Add(file)
    assert "list_services" in pool.FindServiceByName(service).methods_by_name["ServerReflectionInfo"].input_type.fields_by_name


@pytest.mark.parametrize("symbol", ["ExplanationService", "ExplanationService.Explain", "ExplainRequest"])
def test_symbols_are_found(channel: grpc.Channel, symbol: str) -> None:
    """Services, rpcs and messages lead to their file; an rpc that no service has leads nowhere."""
    database = ProtoReflectionDescriptorDatabase(channel)
    found = database.FindFileContainingSymbol(f"explainsvc.v1.{symbol}")
    assert found.name == "explainsvc/v1/explanation_service.proto"
    with pytest.raises(KeyError):
        ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(f"explainsvc.v1.{symbol}.Zebra")


def test_a_client_from_reflection_alone(channel: grpc.Channel, cnn_bytes: bytes, cnn: Model) -> None:
    """Uploading and explaining need no generated code, and give the library's numbers."""
    reflected = Reflected(channel)
    request = reflected.message("UploadModelRequest")
    sha256 = hashlib.sha256(cnn_bytes).hexdigest()
    parts = [
        request(header={"name": "reflected", "size_bytes": len(cnn_bytes), "sha256": sha256}),
        request(chunk={"data": cnn_bytes}),
    ]
    uploaded = reflected.call("ModelService", "UploadModel")(iter(parts))
    assert uploaded.model.digest == sha256

    x = models.image()["x"]
    question = reflected.message("ExplainRequest")(model_digest=sha256, method="gradient")
    question.target.index.positions.append(2)
    tensor = question.inputs.add(name="x").tensor
    dtypes = reflected.pool.FindEnumTypeByName("explainsvc.v1.DataType").values_by_name
    tensor.dtype = dtypes["DATA_TYPE_FLOAT32"].number
    tensor.shape.extend(x.shape)
    tensor.data = x.astype("<f4").tobytes()
    answer = reflected.call("ExplanationService", "Explain")(question)
    values = np.frombuffer(answer.attribution.values[0].tensor.data, "<f4").reshape(x.shape)
    np.testing.assert_array_equal(values, cnn.explain({"x": x}, "gradient", 2).values["x"])


@pytest.mark.parametrize("service", ["", *sorted(SERVICES)])
def test_health(channel: grpc.Channel, service: str) -> None:
    """The server and each of its services are SERVING."""
    response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_what_is_not_there(channel: grpc.Channel) -> None:
    """A service of another name is NOT_FOUND, by the health service's own rules."""
    with pytest.raises(grpc.RpcError) as error:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="zebra"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
