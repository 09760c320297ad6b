"""Every request that the server takes has been thought of: its price, and what the audit log may tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from explainpb.inference.inference_service_pb2 import ModelInferResponse
from explainsvc.service.access import REFLECTION
from explainsvc.service.costs import PRICES
from explainsvc.service.subjects import audit_id, input_digests, model_digest
from tests.service.edges import served

REQUESTS = {kind.full_name: kind for rpc, kind in served() if rpc not in REFLECTION}
CHEAP = {
    *(f"explainsvc.v1.{name}Request" for name in ("GetModel", "ListModels", "SetModelPreprocessing", "DeleteModel", "GetUpload")),
    "explainsvc.v1.ListMethodsRequest",
    *(f"explainsvc.v1.{name}AuditRequest" for name in ("Get", "Watch", "Cancel", "Delete")),
    "explainsvc.v1.ListAuditsRequest", "explainsvc.v1.DownloadReportRequest",
    *(f"google.longrunning.{name}OperationRequest" for name in ("Get", "Delete", "Cancel", "Wait")),
    "google.longrunning.ListOperationsRequest",
    *(f"inference.{name}Request" for name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady")),
    "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthListRequest",
}  # fmt: skip
"""What only reads from the store, or waits."""
DIGEST, AUDIT = 64 * "a", 32 * "b"
MODELS = {"model_digest", "digest", "model_name", "inference.ModelReadyRequest.name", "inference.ModelMetadataRequest.name"}
AUDITS = {"audit_id", *(f"google.longrunning.{name}OperationRequest.name" for name in ("Get", "Delete", "Cancel", "Wait"))}
INPUTS = {"NamedTensor", "NamedImages", "InferInputTensor"}
Path = tuple[Any, ...]
"""Fields, from the outermost."""


def paths(kind: Any, before: Path = ()) -> Iterator[Path]:
    """All fields of a request, those of the messages in it too."""
    for field in kind.fields:
        yield (*before, field)
        inner = field.message_type
        if inner is not None and inner.full_name.startswith(("explainsvc", "inference")) and not inner.GetOptions().map_entry:
            yield from paths(inner, (*before, field))


def with_field(kind: Any, path: Path, value: str) -> Any:
    """A request in which nothing but this field is set."""
    whole = message = GetMessageClass(kind)()
    for field in path:
        held = getattr(message, field.name)
        if field.message_type is None:
            setattr(message, field.name, value)
        elif field.is_repeated:
            message = held.add()
        else:
            held.SetInParent()
            message = held
    return whole


def test_every_request_has_a_price() -> None:
    """A request is priced or known to be cheap, never both; a new one is neither until somebody decides."""
    assert REQUESTS.keys() == PRICES.keys() | CHEAP
    assert PRICES.keys() & CHEAP == set()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_audit_log_sees_what_a_request_is_about(name: str) -> None:
    """Wherever a model, an audit or an input stands in it, its digest or id is found."""
    kind = REQUESTS[name]
    for path in paths(kind):
        field = path[-1]
        spelt = {field.name, field.full_name}
        if spelt & MODELS:
            assert model_digest(with_field(kind, path, DIGEST)) == DIGEST
        if spelt & AUDITS:
            prefix = "audits/" if field.name == "name" else ""
            assert audit_id(with_field(kind, path, prefix + AUDIT)) == AUDIT
        if field.name in ("inputs", "images") and field.message_type.name in INPUTS:
            inside = [inner for inner in field.message_type.fields if inner.name == "images"]
            message = with_field(kind, (*path, *inside), "")
            if field.message_type.name == "InferInputTensor":
                message.inputs[0].datatype = "FP32"
            assert len(input_digests(message)) == 1, field.full_name


def test_the_audit_log_sees_the_model_of_an_answer() -> None:
    """A model that was asked for by a name is known by its digest once it has answered."""
    response = ModelInferResponse(model_name="a name")
    assert model_digest(response) == ""
    response.parameters["model_digest"].string_param = DIGEST
    assert model_digest(response) == DIGEST
