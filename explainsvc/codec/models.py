"""Stored models ↔ messages."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.tensor_pb2 import Preprocessing
from explainsvc.store import StoredModel, Wanted

BY_TIME = (pb.MODEL_ORDER_OLDEST_FIRST, pb.MODEL_ORDER_NEWEST_FIRST)


def to_model(model: StoredModel) -> pb.Model:
    """The message of a stored model."""
    return pb.Model(
        digest=model.digest,
        name=model.name,
        size_bytes=model.size_bytes,
        create_time=to_timestamp(model.created),
        external_data=model.external_data,
        preprocessing=to_profile(model.preprocessing),
    )


def to_profile(preprocessing: bytes) -> Preprocessing | None:
    """The message that is stored with a model, if one is."""
    return Preprocessing.FromString(preprocessing) if preprocessing else None


def to_timestamp(seconds: float) -> Timestamp:
    """The message of a time, in microseconds."""
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1e6))
    return timestamp


def from_list_request(request: pb.ListModelsRequest) -> Wanted:
    """Which models a list shows."""
    return Wanted(
        request.name_prefix,
        _seconds(request.created_from) if request.HasField("created_from") else None,
        _seconds(request.created_before) if request.HasField("created_before") else None,
        by_time=request.order in BY_TIME,
        newest_first=request.order == pb.MODEL_ORDER_NEWEST_FIRST,
    )


def _seconds(timestamp: Timestamp) -> float:
    """Of any message, also one that is no valid time."""
    return timestamp.seconds + round(timestamp.nanos / 1e3) / 1e6
