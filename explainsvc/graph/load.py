"""Reading a model from a path, bytes or a proto; refusing what is not a sound ONNX model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from explainsvc.errors import ExternalDataForbidden, ModelMalformed, ModelUnsupported
from explainsvc.graph.later import as_checked
from explainsvc.graph.limits import Limits, all_nodes, check_counts, check_held, check_tensors, configured, exceeded, subgraphs
from explainsvc.graph.volumes import check_volumes

Source = str | os.PathLike[str] | bytes | onnx.ModelProto


@dataclass(frozen=True)
class Loaded:
    """A checked model with its external data inside, and the digest of what was given."""

    proto: onnx.ModelProto
    digest: str
    size_bytes: int


def digest_of(model_bytes: bytes, external_data: Mapping[str, bytes] | None = None) -> str:
    """The model's identity: sha256 of its bytes, or, with external data, of the list of all files' names and sha256.

    Args:
        model_bytes: The ``.onnx`` file.
        external_data: External-data files by name.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256(model_bytes).hexdigest()
    if not external_data:
        return whole
    lines = [f"{whole}  model.onnx"]
    lines += [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(external_data.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_model(source: Source, external_data: Mapping[str, bytes] | None = None, limits: Limits | None = None) -> Loaded:
    """Reads, checks and completes a model.

    Args:
        source: Path (its external data is read from beside it), bytes, or a proto.
        external_data: External-data files by the name that the model uses for them; for bytes and protos.
        limits: What the model may be; by default what ``EXPLAINSVC_LIMIT_*`` says.

    Raises:
        ModelMalformed: Not ONNX, truncated, or refused by onnx.checker.
        ModelUnsupported: Opset out of range, or an operator of a domain that is not allowed.
        ModelLimitExceeded: Over one of the limits; found before onnxruntime or any inference sees the model.
        ExternalDataForbidden: A file is missing, or its location points outside the model's folder.
    """
    limits = configured() if limits is None else limits
    raw, proto, folder = _read(source, limits)
    check_counts(proto, limits)
    dense, sparse = _tensors(proto)
    _check_sparse(sparse)
    stored = check_tensors(dense, sparse, limits)
    names = _locations(proto, limits)
    files = {name: data for name, data in (external_data or {}).items() if name in names}
    size = len(raw) + sum(len(data) for data in files.values())
    for name in names:
        if folder is not None and name not in files:
            files[name] = _beside(folder, name, limits, size)
            size += len(files[name])
    _check_size(size, limits)
    digest = digest_of(raw, files)
    _inline(proto, files, limits)
    for tensor in dense:
        check_held(tensor)
    _check(proto)
    check_volumes(proto, limits, stored)
    return Loaded(proto, digest, size)


def _check_size(size: int, limits: Limits, where: str = "") -> None:
    if size > limits.file_bytes:
        what = f"the model has {size} bytes with its external data"
        raise exceeded("file_bytes", what, f"{limits.file_bytes} bytes", where)


def read_files(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, bytes]]:
    """The bytes of a model, and of its external-data files by name, as they are uploaded.

    Raises:
        ModelMalformed: There is no file, or it is not ONNX.
        ExternalDataForbidden: A file is missing or outside the model's folder.
    """
    limits = configured()
    raw, proto, _ = _read(path, limits)
    folder = Path(path).resolve().parent
    return raw, {name: _beside(folder, name, limits) for name in _locations(proto, limits)}


def _read(source: Source, limits: Limits) -> tuple[bytes, onnx.ModelProto, Path | None]:
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        raw = source.SerializeToString(deterministic=True)
        _check_size(len(raw), limits)
        return raw, copy, None
    if isinstance(source, bytes):
        _check_size(len(source), limits)
        return source, _parse(source, "the given bytes"), None
    path = Path(source)
    try:
        _check_size(path.stat().st_size, limits, str(path))
        raw = path.read_bytes()
    except OSError as error:
        raise ModelMalformed(
            f"cannot be read ({error.strerror})", where=str(path), expected="an .onnx file", to_do="Check the path"
        ) from error
    return raw, _parse(raw, str(path)), path.resolve().parent


def _parse(raw: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(raw)
    except DecodeError as error:
        raise _not_onnx(where, "the bytes are not an ONNX model, or are cut off") from error
    if not proto.HasField("graph"):
        raise _not_onnx(where, "there is no graph in it")
    return proto


def _not_onnx(where: str, what: str) -> ModelMalformed:
    return ModelMalformed(
        what,
        where=where,
        expected="a serialized onnx.ModelProto, complete",
        to_do="Export or download the model again and compare its sha256",
    )


def _tensors(proto: onnx.ModelProto) -> tuple[list[onnx.TensorProto], list[onnx.SparseTensorProto]]:
    """All dense and all sparse tensors of a model: of its graphs, subgraphs and functions, initializers and attributes."""
    nodes = list(all_nodes([*proto.graph.node, *(n for function in proto.functions for n in function.node)]))
    graphs = [proto.graph, *(graph for node in nodes for graph in subgraphs(node))]
    attributes = [a for node in nodes for a in node.attribute]
    sparse = [s for graph in graphs for s in graph.sparse_initializer]
    sparse += [s for a in attributes for s in [*([a.sparse_tensor] if a.HasField("sparse_tensor") else []), *a.sparse_tensors]]
    dense = [t for graph in graphs for t in graph.initializer]
    dense += [t for a in attributes for t in [*([a.t] if a.HasField("t") else []), *a.tensors]]
    return [*dense, *(t for s in sparse for t in (s.values, s.indices))], sparse


def _external(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [t for t in _tensors(proto)[0] if uses_external_data(t)]


def _check_sparse(sparse: list[onnx.SparseTensorProto]) -> None:
    """No exporter writes sparse tensors into files of their own, and onnxruntime has been caught out by those that claim it."""
    for tensor in sparse:
        if uses_external_data(tensor.values) or uses_external_data(tensor.indices):
            raise ExternalDataForbidden(
                "a sparse tensor is stored as external data", where=f'tensor "{tensor.values.name}"',
                expected="sparse tensors inside the model", to_do="Save the model with its sparse tensors inside",
            )  # fmt: skip


def _stored(tensor: onnx.TensorProto) -> Any:
    """Where a tensor's external data lies: location, offset, length; typed loosely, for onnx declares them as None."""
    try:
        return ExternalDataInfo(tensor)
    except ValueError as error:
        raise ModelMalformed(
            f"a place of external data is not readable: {error}", where=f'tensor "{tensor.name}"',
            expected="offset and length as numbers", to_do="Save the model again with its external data beside it",
        ) from error  # fmt: skip


def _locations(proto: onnx.ModelProto, limits: Limits) -> list[str]:
    """Names of external-data files, each checked to lie inside the model's folder."""
    names = sorted({_stored(t).location for t in _external(proto)})
    for name in names:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
            raise ExternalDataForbidden(
                f"external data is stored at {name!r}, outside the model's folder",
                expected="a relative file name without '..'",
                to_do="Save the model again with its external data beside it",
            )
        if "/" in name and not limits.nested_external_data:
            raise ExternalDataForbidden(
                f"external data is stored at {name!r}, in a folder of its own",
                expected="a flat file name, as in every upload",
                to_do="Save the model again with its external data beside it",
            )
    return names


def _beside(folder: Path, name: str, limits: Limits, before: int = 0) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise ExternalDataForbidden(
            f"external data {name!r} is a link to outside the model's folder", where=str(folder),
            expected="a file in the folder itself", to_do="Copy the file beside the model, or pass external_data={name: bytes}",
        )  # fmt: skip
    if not path.is_file():
        raise _missing(name, str(folder))
    _check_size(before + path.stat().st_size, limits, str(folder))
    return path.read_bytes()


def _missing(name: str, where: str) -> ExternalDataForbidden:
    return ExternalDataForbidden(
        f"external data {name!r} is missing",
        where=where,
        expected="the file under exactly this name",
        to_do="Put it beside the model, or pass external_data={name: bytes}",
    )


def _inline(proto: onnx.ModelProto, files: Mapping[str, bytes], limits: Limits) -> None:
    """Moves external data into the tensors themselves. Several may share a range; each then gets a copy, which counts."""
    total = 0
    for tensor in _external(proto):
        info = _stored(tensor)
        if info.location not in files:
            raise _missing(info.location, f'tensor "{tensor.name}"')
        data, start = files[info.location], int(info.offset or 0)
        end = start + int(info.length) if info.length else len(data)
        if start < 0 or end < start or end > len(data):
            raise ExternalDataForbidden(
                f"bytes {start} to {end} of {info.location!r} do not exist",
                where=f'tensor "{tensor.name}"',
                expected=f"a range inside its {len(data)} bytes",
            )
        total += end - start
        if total > limits.initializer_bytes:
            raise exceeded("initializer_bytes", f"the model's external data takes more than {limits.initializer_bytes} bytes",
                           f"{limits.initializer_bytes} bytes", f'tensor "{tensor.name}"')  # fmt: skip
        tensor.raw_data = data[start:end]
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _check(proto: onnx.ModelProto) -> None:
    names = [text for n in proto.graph.node for text in (n.name, n.op_type, *n.input, *n.output)]
    if any(isinstance(name, bytes) for name in names):  # what protobuf gives for a string that is not UTF-8
        raise ModelMalformed("a name in the graph is not UTF-8", expected="names in UTF-8, as protobuf requires")
    try:
        onnx.checker.check_model(as_checked(proto) or proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        if "No Op registered for" in str(error) or ("No opset import for domain" in str(error) and proto.opset_import):
            raise ModelUnsupported(_first_line(error), to_do="Replace the operator by standard ones and export again") from error
        raise ModelMalformed(_first_line(error), expected="a model that onnx.checker accepts") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
