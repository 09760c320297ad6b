"""Where the numbers of initializers lie in a serialized model: they can be exchanged there without serializing it again.

Reads the wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from explainsvc.autograd.shapes import Array

GRAPH, INITIALIZER, NAME, RAW_DATA = 7, 5, 8, 9
"""Field numbers of ModelProto.graph, GraphProto.initializer, TensorProto.name and TensorProto.raw_data (onnx.proto)."""
_PLAIN = frozenset({1, 2, NAME, RAW_DATA})
"""TensorProto.dims, .data_type, .name and .raw_data."""
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
"""Wire types: those with a length of their own, and those of 8 and 4 bytes."""
Spans = Mapping[str, slice]


def plain_spans(model: bytes, names: Collection[str]) -> Spans:
    """Initializer name → its raw data in a serialized ModelProto.

    Those of ``names`` in the outermost graph that have raw data and nothing beside it but shape, type and name: with other
    numbers such a tensor is serialized to the same bytes but for these.
    """
    view, found = memoryview(model), {}
    for graph in (place for number, place in _fields(view, slice(0, len(view))) if number == GRAPH):
        for tensor in (place for number, place in _fields(view, graph) if number == INITIALIZER):
            parts = dict(_fields(view, tensor))
            name = bytes(view[parts.get(NAME, slice(0, 0))]).decode()
            if name in names and RAW_DATA in parts and parts.keys() <= _PLAIN:
                found[name] = parts[RAW_DATA]
    return found


def _fields(view: memoryview, message: slice) -> Iterator[tuple[int, slice]]:
    """Number and place of every field in a message; of one that has no length, where its value lies."""
    at = message.start
    while at < message.stop:
        key, at = _varint(view, at)
        if key & 7 == _BYTES:
            length, at = _varint(view, at)
        else:
            length = _varint(view, at)[1] - at if key & 7 == _VARINT else _FIXED[key & 7]
        yield key >> 3, slice(at, at + length)
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def exchanged(model: bytes, spans: Spans, arrays: Mapping[str, bytes | memoryview]) -> bytes:
    """The serialized model with other numbers.

    Args:
        model: Serialized.
        spans: As :func:`plain_spans` gives them.
        arrays: Name → raw data of the same length; names without a place are of no use to this model and left out.
    """
    return b"".join(_pieces(model, spans, arrays))


def _pieces(model: bytes, spans: Spans, arrays: Mapping[str, bytes | memoryview]) -> Iterator[bytes | memoryview]:
    view, at = memoryview(model), 0
    for name in sorted(spans.keys() & arrays.keys(), key=lambda name: spans[name].start):
        place, data = spans[name], arrays[name]
        assert len(data) == place.stop - place.start
        yield view[at : place.start]
        yield data
        at = place.stop
    yield view[at:]


def raw(array: Array) -> memoryview:
    """The bytes of a C-contiguous array."""
    data = array.reshape(-1)
    return memoryview(data.view(np.uint8).data) if data.size else memoryview(b"")
