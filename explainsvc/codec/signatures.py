"""The inputs and outputs of a model, without anything that takes longer to find out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.json_format import ParseDict

from explainpb.v1.model_service_pb2 import TensorInfo as Message
from explainpb.worker.v1 import worker_pb2 as pb
from explainsvc.codec.results import from_tensor_info, to_tensor_info
from explainsvc.info import TensorInfo
from explainsvc.model import Model


@dataclass(frozen=True)
class Signature:
    """What goes into a model and what comes out, in its order."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def to_signature(model: Model) -> pb.Signature:
    """The message of a model."""
    return pb.Signature(inputs=map(_to_info, model.inputs), outputs=map(_to_info, model.outputs))


def from_signature(message: pb.Signature) -> Signature:
    """The inputs and outputs."""
    return Signature(_from_infos(message.inputs), _from_infos(message.outputs))


def _to_info(tensor: TensorInfo) -> Message:
    return ParseDict(to_tensor_info(dataclasses.asdict(tensor)), Message())


def _from_infos(messages: Iterable[Message]) -> tuple[TensorInfo, ...]:
    found = map(from_tensor_info, messages)
    return tuple(TensorInfo(one["name"], one["dtype"], None if one["shape"] is None else tuple(one["shape"])) for one in found)
