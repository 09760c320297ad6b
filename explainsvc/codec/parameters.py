"""Parameters of methods and checks: plain Python values ↔ ``google.protobuf.Struct`` and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf import struct_pb2

from explainpb.v1 import tensor_pb2
from explainsvc.codec.tensors import from_named, to_named
from explainsvc.errors import InvalidParameter, Violation

RESERVED = frozenset({"method", "target", "inputs", "seed", "progress", "watch"})
"""Fields of the request of their own; as parameters they would override those."""

EXACT = 2**53
"""Struct holds numbers as doubles: integers beyond this would change."""


def to_value(value: object, field: str) -> struct_pb2.Value:
    """A JSON-able value as a ``Value``; anything else is InvalidParameter."""
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool() | np.bool_():
            return struct_pb2.Value(bool_value=bool(value))
        case str():
            return struct_pb2.Value(string_value=value)
        case float() | np.floating():
            return struct_pb2.Value(number_value=float(value))
        case int() | np.integer() if abs(int(value)) <= EXACT:
            return struct_pb2.Value(number_value=float(value))
        case Mapping():
            return struct_pb2.Value(struct_value=to_struct(value, field))
        case list() | tuple():
            values = [to_value(item, f"{field}[{position}]") for position, item in enumerate(value)]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))
        case np.ndarray():
            return to_value(value.tolist(), field)
    raise InvalidParameter(
        "a parameter cannot be sent",
        violations=[Violation(field, f"{value!r} is a {type(value).__name__}")],
        expected="numbers, strings, booleans, arrays, lists or dicts of these",
    )


def to_struct(values: Mapping[Any, object], field: str = "parameters") -> struct_pb2.Struct:
    """A dict of JSON-able values as a ``Struct``."""
    return struct_pb2.Struct(fields={str(name): to_value(value, f"{field}.{name}") for name, value in values.items()})


def from_value(value: struct_pb2.Value) -> Any:
    """The plain value; a number without fraction becomes an int, as in JSON."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= EXACT else number
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
    return None


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The plain dict, names sorted: a ``Struct`` has no order."""
    return {name: from_value(struct.fields[name]) for name in sorted(struct.fields)}


def split(parameters: Mapping[str, Any]) -> tuple[struct_pb2.Struct, list[tensor_pb2.NamedTensor]]:
    """The two fields of a request: what goes into a ``Struct``, and the arrays. ``{p: {x: array}}`` is array "p.x"."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, value in parameters.items():
        inner = value if isinstance(value, Mapping) else {}
        arrays |= {f"{name}.{key}": part for key, part in inner.items() if isinstance(part, np.ndarray)}
        rest = {key: part for key, part in inner.items() if not isinstance(part, np.ndarray)}
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif not inner or rest:
            plain[name] = rest or value
    return to_struct(plain), to_named(arrays, "parameters")


def join(struct: struct_pb2.Struct, arrays: Iterable[tensor_pb2.NamedTensor]) -> dict[str, Any]:
    """The parameters of a request; names that are fields of their own, or given twice, are InvalidParameter."""
    joined, violations = from_struct(struct), []
    for name, array in from_named(arrays, "parameters").items():
        owner, dot, key = name.partition(".")
        inner = joined.setdefault(owner, {}) if dot else joined
        if not isinstance(inner, dict) or (key if dot else name) in inner:
            violations.append(Violation(f"parameters.{name}", "given as a value and as an array"))
        else:
            inner[key if dot else name] = array
    fields = sorted(joined.keys() & RESERVED)
    violations += [Violation(f"parameters.{name}", "is a field of the request, no parameter") for name in fields]
    if violations:
        raise InvalidParameter("parameters cannot be taken as they are", violations=violations)
    return joined
