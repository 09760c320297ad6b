"""Write docs/api.md: every service, message and enum of ``protos/explainsvc/v1``, with comments; ``--check`` only compares."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "protos")]

from generate import compiled  # noqa: E402
from google.protobuf.descriptor_pb2 import (  # noqa: E402
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from tables import cell, table, written  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
FOLDER = "explainsvc/v1/"
PACKAGE = ".explainsvc.v1."
HEAD = """# The gRPC API

Written by `make docs` from the comments of `protos/explainsvc/v1`; not edited by hand. Package `explainsvc.v1`. What a failed
call carries is in [errors.md](errors.md), what methods and checks are in [methods.md](methods.md).

Beside these services the server answers the Open Inference Protocol ([oip.md](oip.md)), `google.longrunning.Operations` (audits
as operations `audits/{audit_id}`: metadata and response are `Audit`), `grpc.health.v1.Health` and server reflection.
`protos/baseline.binpb` is the API of the last release: `make check` refuses a change that its clients would notice.
"""
SERVICE, MESSAGE, ENUM = 6, 4, 5
"""Numbers of these fields in FileDescriptorProto, which name a place in SourceCodeInfo."""


@dataclass(frozen=True)
class File:
    """One proto file and the comments on its parts, by their place."""

    proto: FileDescriptorProto
    comments: Mapping[tuple[int, ...], str]

    def said(self, *place: int) -> str:
        """The comment on a part, in one line."""
        return " ".join(self.comments.get(place, "").split())


def files() -> list[File]:
    """The public ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.binpb"
        compiled([f"--descriptor_set_out={path}", "--include_source_info"])
        found = FileDescriptorSet.FromString(path.read_bytes()).file
    public = [proto for proto in found if proto.name.startswith(FOLDER)]
    return [File(p, {tuple(at.path): at.leading_comments for at in p.source_code_info.location}) for p in public]


def kind(field: FieldDescriptorProto, maps: Mapping[str, DescriptorProto]) -> str:
    """The type of a field, in words; types of ours are links."""
    if field.type_name in maps:
        key, value = maps[field.type_name].field
        return f"map of {kind(key, {})} to {kind(value, {})}"
    known = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = linked(field.type_name) if field.type_name else known
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {name}" if repeated else f"optional {name}" if field.proto3_optional else name


def linked(name: str) -> str:
    """A link to a type of ours, the name of any other."""
    own = name.removeprefix(PACKAGE)
    return f"[{own}](#{own.lower()})" if own != name else f"`{name.removeprefix('.')}`"


def service_text(file: File, place: int, service: ServiceDescriptorProto) -> Iterator[str]:
    """A service: its comment, and a row an rpc."""
    yield f"## {service.name}\n\n{file.said(SERVICE, place)}\n"
    rows = (rpc_row(rpc, file.said(SERVICE, place, 2, number)) for number, rpc in enumerate(service.method))
    yield table(("rpc", "request", "response", "what it does"), rows) + "\n"


def rpc_row(rpc: MethodDescriptorProto, said: str) -> tuple[str, ...]:
    """Name, request, response, comment."""
    sides = ((rpc.client_streaming, rpc.input_type), (rpc.server_streaming, rpc.output_type))
    return f"`{rpc.name}`", *(f"{'stream of ' * streams}{linked(name)}" for streams, name in sides), said


def message_text(file: File, place: int, message: DescriptorProto) -> Iterator[str]:
    """A message: its comment, and a row a field."""
    yield f"### {message.name}\n\n{file.said(MESSAGE, place)}\n"
    maps = {f"{PACKAGE}{message.name}.{one.name}": one for one in message.nested_type if one.options.map_entry}
    rows = [
        (f"`{field.name}`", kind(field, maps), group(message, field), file.said(MESSAGE, place, 2, number))
        for number, field in enumerate(message.field)
    ]
    if rows:
        yield table(("field", "type", "one of", "meaning"), rows) + "\n"


def group(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """The oneof of a field, if it is in one."""
    inside = field.HasField("oneof_index") and not field.proto3_optional
    return f"`{message.oneof_decl[field.oneof_index].name}`" if inside else ""


def enum_text(file: File, place: int, enum: EnumDescriptorProto) -> Iterator[str]:
    """An enum: its comment, and a row a value."""
    yield f"### {enum.name}\n\n{file.said(ENUM, place)}\n"
    rows = ((f"`{v.name}`", str(v.number), file.said(ENUM, place, 2, number)) for number, v in enumerate(enum.value))
    yield table(("value", "number", "meaning"), rows) + "\n"


def page() -> str:
    """The whole page: services first, then messages and enums file by file."""
    found = files()
    parts = [HEAD]
    for file in found:
        for place, service in enumerate(file.proto.service):
            parts += service_text(file, place, service)
    for file in found:
        parts.append(f"## Messages of {cell(file.proto.name.removeprefix(FOLDER))}\n")
        for place, message in enumerate(file.proto.message_type):
            parts += message_text(file, place, message)
        for place, enum in enumerate(file.proto.enum_type):
            parts += enum_text(file, place, enum)
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write docs/api.md, or with ``--check`` return 1 when it is not what the protos say."""
    return written(PAGE, page(), arguments, "docs/api.md is not what the protos say.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
