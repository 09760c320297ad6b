"""Tensors of the Open Inference Protocol ↔ ``NamedTensor``: typed or raw on the way in, raw on the way out."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from explainpb.inference import inference_service_pb2 as oip
from explainpb.v1 import tensor_pb2 as pb
from explainsvc.codec.tensors import DTYPES
from explainsvc.errors import InvalidInput, Violation

Array = npt.NDArray[Any]
BYTES = "BYTES"
DATATYPES = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16",
    "UINT32": "uint32", "UINT64": "uint64", "FP16": "float16", "FP32": "float32", "FP64": "float64", BYTES: "string",
    "BF16": "bfloat16",
}  # fmt: skip
"""The protocol's name of a type → ours."""
NAMES = {ours: name for name, ours in DATATYPES.items()}
FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", BYTES: "bytes_contents",
}  # fmt: skip
"""Where the elements of a type are, when they are not raw; FP16 and BF16 have no such field."""
SIZE = "binary_data_size"
"""What KServe's client says of raw elements even over gRPC: how many bytes they are."""
LENGTH = struct.Struct("<I")
"""Before each element of raw BYTES."""


def from_infer_inputs(request: oip.ModelInferRequest) -> list[pb.NamedTensor]:
    """The inputs of a request; whether elements and shape agree is seen where the tensors are made into arrays.

    Raises:
        InvalidInput: Lists every input whose type or elements are not well formed.
    """
    raw, inputs = request.raw_input_contents, request.inputs
    if raw and len(raw) != len(inputs):
        wrong = Violation("raw_input_contents", f"has {len(raw)} entries, expected one for each of the {len(inputs)} inputs")
        raise InvalidInput("the inputs are not well formed", violations=[wrong])
    found: list[pb.NamedTensor] = []
    violations: list[Violation] = []
    for place, given in enumerate(inputs):
        try:
            found.append(pb.NamedTensor(name=given.name, tensor=_tensor(given, raw[place] if raw else None)))
        except ValueError as error:
            violations.append(Violation(f'inputs["{given.name}"]', str(error)))
    if violations:
        raise InvalidInput("the inputs are not well formed", violations=violations)
    return found


def _tensor(given: oip.ModelInferRequest.InferInputTensor, raw: bytes | None) -> pb.Tensor:
    """ValueError says what is wrong with an input."""
    kind = given.datatype
    if kind not in DATATYPES:
        raise ValueError(f"has the datatype {kind[:20]!r}, expected one of {', '.join(DATATYPES)}")
    strange = [name for name, value in given.parameters.items() if raw is None or (name, value.int64_param) != (SIZE, len(raw))]
    if strange:
        raise ValueError(f"has the parameter {min(strange)!r}, expected none: its elements come in the request")
    typed = {field.name for field, _ in given.contents.ListFields()}
    if raw is not None and typed:
        raise ValueError("has elements in contents and in raw_input_contents, expected one of them")
    if kind == BYTES:
        texts = given.contents.bytes_contents if raw is None else list(texts_of(raw))
        _only(kind, typed)
        return pb.Tensor(dtype=pb.DATA_TYPE_STRING, shape=given.shape, strings=texts)
    data = _typed(given, typed) if raw is None else raw
    return pb.Tensor(dtype=DTYPES[DATATYPES[kind]], shape=given.shape, data=data)


def _typed(given: oip.ModelInferRequest.InferInputTensor, typed: set[str]) -> bytes:
    kind = given.datatype
    _only(kind, typed)
    if kind not in FIELDS:
        return b""
    elements = getattr(given.contents, FIELDS[kind])
    dtype = np.dtype(DATATYPES[kind]).newbyteorder("<")
    if dtype.kind not in "iu":
        return _packed(given.contents, len(elements) * dtype.itemsize)
    wide = np.fromiter(elements, np.uint64 if dtype.kind == "u" else np.int64, len(elements))
    if (wide != wide.astype(dtype)).any():
        raise ValueError(f"has elements that no {kind} holds")
    return wide.astype(dtype).tobytes()


def _packed(contents: oip.InferTensorContents, length: int) -> bytes:
    """The elements of the only field, which protobuf's encoding ends in as they are: fixed32, fixed64, or a byte a bool."""
    known = oip.InferTensorContents()
    known.CopyFrom(contents)
    known.DiscardUnknownFields()
    return known.SerializeToString()[-length:] if length else b""


def _only(kind: str, typed: set[str]) -> None:
    """Elements are in the field of their type and in no other."""
    strange = typed - {FIELDS.get(kind, "")}
    if strange:
        expected = FIELDS.get(kind, "raw_input_contents")
        raise ValueError(f"has elements in {', '.join(sorted(strange))}, expected {kind} in {expected}")


def texts_of(raw: bytes) -> Iterator[bytes]:
    """The elements of raw BYTES; ValueError where they are cut off."""
    place = 0
    while place < len(raw):
        if place + LENGTH.size > len(raw):
            raise ValueError("ends within the length of an element")
        (length,) = LENGTH.unpack_from(raw, place)
        place += LENGTH.size + length
        if place > len(raw):
            raise ValueError("ends within an element")
        yield raw[place - length : place]


def add_outputs(response: oip.ModelInferResponse, tensors: Iterable[pb.NamedTensor]) -> None:
    """Append outputs and their raw elements."""
    for named in tensors:
        kind = datatype(named.tensor.dtype)
        response.outputs.add(name=named.name, datatype=kind, shape=named.tensor.shape)
        response.raw_output_contents.append(raw_texts(named.tensor.strings) if kind == BYTES else named.tensor.data)


def datatype(dtype: int) -> str:
    """The protocol's name of a type of ours."""
    if dtype == pb.DATA_TYPE_STRING:
        return BYTES
    return next(NAMES[name] for name, number in DTYPES.items() if number == dtype)


def raw_texts(texts: Iterable[bytes]) -> bytes:
    """Raw BYTES of elements."""
    return b"".join(LENGTH.pack(len(text)) + text for text in texts)
