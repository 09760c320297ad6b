"""Messages made wrong: by their structure, field by field, and by their bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

INTEGERS = (0, 1, -1, 2, 7, 127, 255, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "\x00", "../../etc/passwd", "é" * 100, "a" * 10_000, "Loop", "If", "Constant", "com.microsoft", "-1", "0" * 64)
BYTES = (b"", b"\x00", b"\xff" * 8, b"\x80" * 100, bytes(1000))
RANGES = {Field.CPPTYPE_INT32: 2**31, Field.CPPTYPE_UINT32: 2**32, Field.CPPTYPE_INT64: 2**63, Field.CPPTYPE_UINT64: 2**64}
LONGEST = 300
"""Repeated values that are looked at: weights have far more."""


def mutated(draw: random.Random, message: Message) -> bytes:
    """The bytes of a message with one to four things wrong with it."""
    wrong = type(message)()
    wrong.CopyFrom(message)
    if draw.random() < 0.75:
        for _ in range(draw.choice((1, 1, 2, 4))):
            _change(draw, wrong)
        data = wrong.SerializePartialToString()
        return data if draw.random() < 0.9 else flipped(draw, data)
    return flipped(draw, message.SerializeToString())


def flipped(draw: random.Random, data: bytes) -> bytes:
    """Bytes with some of them changed, cut out, doubled, or none left behind a place."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 64))):
        if not changed:
            break
        at, end = sorted(draw.randrange(len(changed)) for _ in range(2))
        match draw.randrange(5):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at] = draw.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del changed[at : min(end, at + 20)]
            case 3:
                changed[at:at] = changed[at : min(end, at + 200)]
            case 4 if draw.random() < 0.1:
                del changed[at:]
    return bytes(changed)


def _change(draw: random.Random, message: Message) -> None:
    places = list(_places(message))
    if not places:
        return
    owner, field = draw.choice(places)
    if field.is_repeated:
        _change_list(draw, getattr(owner, field.name), field)
    elif draw.random() < 0.2:
        owner.ClearField(field.name)
    elif field.message_type is None:
        setattr(owner, field.name, _value(draw, field))
    else:
        getattr(owner, field.name).CopyFrom(draw.choice(_of_kind(message, field)))


def _change_list(draw: random.Random, values: Any, field: Field) -> None:
    """Of a map only whole entries go."""
    at = draw.randrange(len(values)) if len(values) else 0
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key in list(values)[:1]:
            del values[key]
    elif len(values) == 0 or draw.random() < 0.3:
        values.append(_element(draw, values, field))
    elif draw.random() < 0.4:
        del values[at]
    elif field.message_type is None:
        values[at] = _value(draw, field)
    else:
        values[at].CopyFrom(values[draw.randrange(len(values))])


def _element(draw: random.Random, values: Any, field: Field) -> Any:
    if field.message_type is None:
        return _value(draw, field)
    copied = GetMessageClass(field.message_type)()
    if len(values):
        copied.CopyFrom(values[draw.randrange(len(values))])
    return copied


def _places(message: Message, depth: int = 0) -> Iterator[tuple[Message, Field]]:
    """Every field that is set, and those that could be, of a message and all below it."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
    if depth > 20:
        return
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for below in list(value)[:LONGEST] if field.is_repeated else [value]:
                yield from _places(below, depth + 1)


def _of_kind(message: Message, field: Field) -> list[Message]:
    """Messages that could stand in a field: an empty one, and all of its kind that there are."""
    kind = field.message_type
    found = [getattr(owner, one.name) for owner, one in _places(message) if one.message_type is kind and not one.is_repeated]
    copies = [GetMessageClass(kind)() for _ in range(len(found) + 1)]
    for copy, original in zip(copies, found, strict=False):
        copy.CopyFrom(original)
    return copies


def _value(draw: random.Random, field: Field) -> Any:
    match field.cpp_type:
        case Field.CPPTYPE_STRING:
            return draw.choice(TEXTS if field.type == Field.TYPE_STRING else BYTES)
        case Field.CPPTYPE_BOOL:
            return draw.random() < 0.5
        case Field.CPPTYPE_FLOAT | Field.CPPTYPE_DOUBLE:
            return draw.choice(FLOATS)
        case Field.CPPTYPE_ENUM:
            unknown = () if field.enum_type.is_closed else (99,)
            return draw.choice([*(value.number for value in field.enum_type.values), *unknown])
    limit, signed = RANGES[field.cpp_type], field.cpp_type in (Field.CPPTYPE_INT32, Field.CPPTYPE_INT64)
    return draw.choice([number for number in INTEGERS if (-limit if signed else 0) <= number < limit])
