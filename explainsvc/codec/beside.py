"""Large parts of messages as they lie: beside the message in a frame, or behind it in a response, and copied into none.

The wire format is that of protobuf (protobuf.dev/programming-guides/encoding): a field is its tag, its length and its bytes,
and the bytes of a message are those of its fields, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import Message

from explainpb.v1.explanation_service_pb2 import Attribution, ExplainResponse
from explainpb.v1.tensor_pb2 import NamedTensor, Tensor
from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc.codec.tensors import Array, declared
from explainsvc.frames import Buffer, Parts

LENGTH_DELIMITED = 2
"""The wire type of bytes, texts and messages."""


@dataclass(frozen=True)
class Serialised:
    """A response as its bytes, and what is known of it: its message without the large parts."""

    message: Message
    data: bytes


def whole_job(job: Job, request: bytes | bytearray) -> Job:
    """The job with its request in it, in place."""
    if request:
        getattr(job, job.WhichOneof("work") or "").MergeFromString(request)
    return job


def whole_reply(reply: Reply, values: Parts) -> Reply:
    """The reply to Explain with its values in it, in place; any other one as it is."""
    if values:
        reply.explained.attribution.MergeFromString(b"".join(values))
    return reply


def explained(response: ExplainResponse, values: Parts) -> Serialised:
    """The response to Explain: an attribution, and nothing else."""
    attribution = field(ExplainResponse.ATTRIBUTION_FIELD_NUMBER, response.attribution.SerializeToString(), *values)
    return Serialised(response, b"".join(attribution))


def values_of(arrays: Mapping[str, Array]) -> Parts:
    """The field ``values`` of an attribution."""
    return [part for name, array in arrays.items() for part in field(Attribution.VALUES_FIELD_NUMBER, *_named(name, array))]


def _named(name: str, array: Array) -> Iterator[Buffer]:
    """See ``to_named``."""
    yield from field(NamedTensor.NAME_FIELD_NUMBER, name.encode())
    yield from field(NamedTensor.TENSOR_FIELD_NUMBER, *_tensor(array, f'values["{name}"]'))


def _tensor(array: Array, where: str) -> Iterator[Buffer]:
    """See ``to_tensor``; the numbers where they are."""
    numbers = declared(tensor := Tensor(), array, where)
    yield tensor.SerializeToString()
    if numbers is not None:
        yield from field(Tensor.DATA_FIELD_NUMBER, numbers.reshape(-1).view(np.uint8).data)


def field(number: int, *parts: Buffer) -> list[Buffer]:
    """A field of these parts."""
    return [varint(number << 3 | LENGTH_DELIMITED) + varint(sum(map(len, parts))), *parts]


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
