"""Tensors: numpy arrays ↔ ``Tensor`` and ``NamedTensor``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes as ml_dtypes  # numpy then knows the name bfloat16
import numpy as np
import numpy.typing as npt

from explainpb.v1 import tensor_pb2 as pb
from explainsvc.errors import InvalidInput, Violation

Array = npt.NDArray[Any]

DTYPES: dict[str, pb.DataType] = {
    "bool": pb.DATA_TYPE_BOOL,
    "int8": pb.DATA_TYPE_INT8,
    "int16": pb.DATA_TYPE_INT16,
    "int32": pb.DATA_TYPE_INT32,
    "int64": pb.DATA_TYPE_INT64,
    "uint8": pb.DATA_TYPE_UINT8,
    "uint16": pb.DATA_TYPE_UINT16,
    "uint32": pb.DATA_TYPE_UINT32,
    "uint64": pb.DATA_TYPE_UINT64,
    "float16": pb.DATA_TYPE_FLOAT16,
    "float32": pb.DATA_TYPE_FLOAT32,
    "float64": pb.DATA_TYPE_FLOAT64,
    "bfloat16": pb.DATA_TYPE_BFLOAT16,
}
"""numpy name → enum; strings are a case of their own. The name bfloat16 is that of ml_dtypes."""

MAX_RANK = 32
"""numpy has no more than 64, and no model has as many."""

NUMPY = {number: np.dtype(name).newbyteorder("<") for name, number in DTYPES.items()}


def to_tensor(array: Array, where: str = "tensor") -> pb.Tensor:
    """The message of an array of numbers, booleans or strings; any other dtype is InvalidInput."""
    fill_tensor(message := pb.Tensor(), array, where)
    return message


def fill_tensor(message: pb.Tensor, array: Array, where: str = "tensor") -> None:
    """See ``to_tensor``; into an empty message where it lies, for protobuf copies what it is given."""
    numbers = declared(message, array, where)
    if numbers is not None:
        message.data = numbers.tobytes()


def declared(message: pb.Tensor, array: Array, where: str) -> Array | None:
    """See ``to_tensor``; shape, type and strings. The numbers are left to the caller, contiguous and little-endian."""
    array = np.asarray(array)
    message.shape.extend(array.shape)
    if array.dtype.kind in "OUST":
        message.dtype = pb.DATA_TYPE_STRING
        message.strings.extend(_strings(array, where))
        return None
    if array.dtype.name not in DTYPES:
        raise InvalidInput(f"dtype {array.dtype} cannot be sent", where=where, expected=f"string, {', '.join(DTYPES)}")
    message.dtype = DTYPES[array.dtype.name]
    return np.ascontiguousarray(array, NUMPY[message.dtype])


def _strings(array: Array, where: str) -> list[bytes]:
    """Elements in C order, in UTF-8; an element that is neither str nor bytes is InvalidInput."""
    elements = array.reshape(-1).tolist()
    strange = {type(element).__name__ for element in elements} - {"str", "bytes"}
    if strange:
        raise InvalidInput(f"elements of type {', '.join(sorted(strange))}", where=where, expected="numbers or strings")
    return [element if isinstance(element, bytes) else element.encode() for element in elements]


def from_tensor(tensor: pb.Tensor, where: str = "tensor") -> Array:
    """The array of a message; ``where`` is the field's path for the errors."""
    data = tensor.data
    problems = _problems(tensor, data, where)
    if problems:
        raise InvalidInput("a tensor is not well formed", violations=problems)
    return _array(tensor, data)


def _array(tensor: pb.Tensor, data: bytes) -> Array:
    """The array of a well-formed message, and of its field ``data``, which protobuf copies whenever it is asked for."""
    if tensor.dtype == pb.DATA_TYPE_STRING:
        texts = np.array([text.decode() for text in tensor.strings], dtype=object)
        return texts.reshape(tuple(tensor.shape))
    array = np.frombuffer(data, NUMPY[tensor.dtype]).reshape(tuple(tensor.shape))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _problems(tensor: pb.Tensor, data: bytes, where: str) -> list[Violation]:
    """Everything that keeps the message from being an array."""
    if any(extent < 0 for extent in tensor.shape):
        return [Violation(f"{where}.shape", f"has a negative extent: {list(tensor.shape)}")]
    if len(tensor.shape) > MAX_RANK:
        return [Violation(f"{where}.shape", f"has {len(tensor.shape)} axes, expected at most {MAX_RANK}")]
    elements = math.prod(tensor.shape)
    if tensor.dtype == pb.DATA_TYPE_STRING:
        return _string_problems(tensor, elements, where)
    if tensor.dtype not in NUMPY:
        return [Violation(f"{where}.dtype", f"is {tensor.dtype}, expected an element type of DataType other than 0")]
    wanted = elements * NUMPY[tensor.dtype].itemsize
    if len(data) != wanted:
        kind = f"{NUMPY[tensor.dtype].name}{list(tensor.shape)}"
        text = f"has {len(data)} bytes, expected {wanted} for {kind}"
        return [Violation(f"{where}.data", text)]
    return []


def _string_problems(tensor: pb.Tensor, elements: int, where: str) -> list[Violation]:
    if len(tensor.strings) != elements:
        text = f"has {len(tensor.strings)} strings, expected {elements} for shape {list(tensor.shape)}"
        return [Violation(f"{where}.strings", text)]
    try:
        b"".join(tensor.strings).decode()
    except UnicodeDecodeError as error:
        return [Violation(f"{where}.strings", f"is not UTF-8: {error.reason}")]
    return []


def to_named(arrays: Mapping[str, Array], field: str = "inputs") -> list[pb.NamedTensor]:
    """The messages of a mapping, in its order."""
    return [pb.NamedTensor(name=name, tensor=to_tensor(a, f'{field}["{name}"]')) for name, a in arrays.items()]


def fill_named(messages: Any, arrays: Mapping[str, Array], field: str) -> None:
    """See ``to_named``; at the end of a repeated field."""
    for name, array in arrays.items():
        message = messages.add(name=name)
        fill_tensor(message.tensor, array, f'{field}["{name}"]')


def from_named(tensors: Iterable[pb.NamedTensor], field: str = "inputs") -> dict[str, Array]:
    """The mapping; all malformed tensors and repeated names are reported together."""
    arrays: dict[str, Array] = {}
    violations: list[Violation] = []
    for named in tensors:
        where = f'{field}["{named.name}"]'
        data = named.tensor.data
        problems = _problems(named.tensor, data, where)
        if named.name in arrays:
            problems.append(Violation(where, "is given twice"))
        if not problems:
            arrays[named.name] = _array(named.tensor, data)
        violations += problems
    if violations:
        raise InvalidInput("the tensors of the request are not well formed", violations=violations)
    return arrays
