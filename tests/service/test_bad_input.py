"""What bad input gets over gRPC: the error that the library raises, word for word; and the server lives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc import errors
from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError
from tests.service import models

WORDS = np.array(["a", "b"], dtype=object)
X4 = np.ones((2, 4), np.float32)


@dataclass(frozen=True)
class Call:
    """An explanation that must fail."""

    error: type[ExplainsvcError]
    model: bytes
    inputs: dict[str, Any]
    method: str = "gradient"
    target: Any = None
    wanted: list[str] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


NAN = np.full((2, 1, 6, 6), np.nan, np.float32)
CALLS = {
    "input missing": Call(errors.InvalidInput, models.cnn(), {}),
    "input misspelt": Call(errors.InvalidInput, models.cnn(), {"X": models.image()["x"]}),
    "wrong dtype": Call(errors.InvalidInput, models.cnn(), {"x": models.image()["x"].astype(np.float64)}),
    "strings for numbers": Call(errors.InvalidInput, models.linear(), {"x": WORDS}),
    "wrong shape": Call(errors.InvalidInput, models.cnn(), {"x": np.ones((2, 3, 6, 6), np.float32)}),
    "wrong rank": Call(errors.InvalidInput, models.cnn(), {"x": np.ones(36, np.float32)}),
    "no items": Call(errors.InvalidInput, models.cnn(), {"x": np.ones((0, 1, 6, 6), np.float32)}),
    "not a number": Call(errors.InvalidInput, models.cnn(), {"x": NAN}),
    "target out of range": Call(errors.TargetOutOfRange, models.cnn(), models.image(), target=3),
    "target of no output": Call(errors.TargetOutOfRange, models.cnn(), models.image(), target={"output": "z"}),
    "too few targets": Call(errors.TargetOutOfRange, models.cnn(), models.image(), target=[1]),
    "seed of another shape": Call(errors.TargetOutOfRange, models.cnn(), models.image(), target={"seed": np.ones(3, np.float32)}),
    "unknown method": Call(errors.UnknownMethod, models.cnn(), models.image(), "gradiant"),
    "unknown parameter": Call(
        errors.InvalidParameter, models.cnn(), models.image(), "integrated_gradients", parameters={"step": 8}
    ),
    "ill-typed parameter": Call(
        errors.InvalidParameter, models.cnn(), models.image(), "integrated_gradients", parameters={"steps": "many"}
    ),
    "grad-cam without space": Call(errors.MethodNotApplicable, models.linear(), {"x": X4}, "grad_cam"),
    "guided without relu": Call(errors.MethodNotApplicable, models.linear(), {"x": X4}, "guided_backprop"),
    "integer input": Call(errors.NothingToDifferentiate, models.embedding(), {"ids": np.ones((2, 5), np.int64)}),
    "string input": Call(errors.NothingToDifferentiate, models.labelled(), {"x": X4, "word": WORDS}, wanted=["word"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_explain(client: Client, name: str) -> None:
    """Explain fails with the library's own error, which says what, where or which fields, and what to do or expect."""
    call = CALLS[name]
    model = explainsvc.load(call.model)
    with pytest.raises(call.error) as here:
        model.explain(call.inputs, call.method, call.target, inputs=call.wanted, **call.parameters)
    digest = client.upload(call.model)
    with pytest.raises(call.error) as there:
        client.explain(digest, call.inputs, call.method, call.target, inputs_wanted=call.wanted, parameters=call.parameters)
    assert str(there.value) == str(here.value)
    assert there.value.violations == here.value.violations
    assert there.value.what
    assert there.value.expected or there.value.to_do or there.value.violations


def test_the_server_lives(client: Client, digest: str) -> None:
    """After all that the same workers answer."""
    assert client.predict(digest, models.image())["y"].shape == (2, 3)


UPLOADS = {
    "not onnx": (errors.ModelMalformed, b"zebra" * 1000, {}),
    "empty graph": (errors.ModelMalformed, b"\x08\x08", {}),
    "truncated": (errors.ModelMalformed, models.cnn()[:-100], {}),
    "unknown operator": (errors.ModelUnsupported, models.custom("Zebra"), {}),
    "unknown domain": (errors.ModelUnsupported, models.custom("Zebra", "com.zebra"), {}),
    "opset of the future": (errors.ModelUnsupported, models.from_the_future(), {}),
    "external data missing": (errors.ExternalDataForbidden, models.external()[0], {}),
    "external data elsewhere": (errors.ExternalDataForbidden, models.external("../weights.bin")[0], {}),
    "external data at the root": (errors.ExternalDataForbidden, models.external("/etc/passwd")[0], {}),
    "external data too short": (errors.ExternalDataForbidden, models.external()[0], {"weights.bin": b"1234"}),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_upload(client: Client, name: str) -> None:
    """A model that cannot be loaded is refused with the library's own error, and nothing of it is stored."""
    kind, data, files = UPLOADS[name]
    before = client.list_models()
    with pytest.raises(kind) as here:
        explainsvc.load(data, external_data=files)
    with pytest.raises(kind) as there:
        client.upload(data, files)
    assert str(there.value) == str(here.value)
    assert client.list_models() == before


@pytest.mark.parametrize("digest_", ["", "0" * 64, "../../etc", "é"])
def test_unknown_model(client: Client, digest_: str) -> None:
    """A digest of no stored model is NOT_FOUND everywhere."""
    for call in (client.inspect, client.delete, client.compile):
        with pytest.raises(errors.ModelNotFound):
            call(digest_)
    with pytest.raises(errors.ModelNotFound):
        client.explain(digest_, models.image())


def test_parameters_cannot_be_fields_of_the_request(client: Client, digest: str) -> None:
    """A parameter named like an argument of the library's call does not override it."""
    with pytest.raises(errors.InvalidParameter, match="is a field of the request"):
        client.explain(digest, models.image(), parameters={"seed": 3, "inputs": ["x"]})


def test_parameters_that_json_does_not_know(client: Client, digest: str) -> None:
    """A parameter that cannot be sent is refused before anything is."""
    with pytest.raises(errors.InvalidParameter, match="object"):
        client.explain(digest, models.image(), parameters={"baseline": object()})


@pytest.mark.parametrize("target", ["y", 1.5, {"class": 3}, {"output": "y", "index": "three"}], ids=str)
def test_what_is_no_target(client: Client, digest: str, cnn: explainsvc.Model, target: Any) -> None:
    """A target that cannot be understood is the same kind of error on both sides."""
    with pytest.raises(errors.TargetOutOfRange):
        cnn.explain(models.image(), target=target)
    with pytest.raises(errors.TargetOutOfRange):
        client.explain(digest, models.image(), target=target)
