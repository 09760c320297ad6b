"""Server reflection, as ``grpc.reflection.v1`` and under the name that it had before; the messages are the same.

grpcio has the older name only, which clients of today ask for second: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from explainsvc.service.symbols import POOL, Symbols

OLD, NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
SERVICE = "ServerReflection"
NAMES = (f"{NEW}.{SERVICE}", f"{OLD}.{SERVICE}")


def _file() -> FileDescriptorProto:
    """That of the older name, under the new one wherever it occurs."""
    found = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(found)
    return text_format.Parse(text_format.MessageToString(found).replace("v1alpha", "v1"), FileDescriptorProto())


def reflect(names: Iterable[str], server: grpc.aio.Server) -> None:
    """The server tells of services with these names, and of reflection itself."""
    POOL.AddSerializedFile(_file().SerializeToString())  # once more changes nothing
    servicer = reflection.aio.ReflectionServicer([*names, *NAMES], pool=Symbols())  # type: ignore[attr-defined]  # it is public
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in NAMES:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),))
