"""The Open Inference Protocol over gRPC: the numbers of Explain and Predict, in another protocol's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from explainpb.inference import inference_service_pb2 as oip
from explainpb.inference.inference_service_pb2_grpc import GRPCInferenceServiceStub
from explainsvc.client import Client
from explainsvc.codec.infer_tensors import FIELDS, NAMES
from explainsvc.service.costs import price
from tests.service import models
from tests.service.edges import details, outcome

Array = models.Array
IG = {"explain_method": "integrated_gradients", "explain_target": "y:1", "explain_steps": 8}
SERVICE = "inference.GRPCInferenceService"
DTYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64}


@pytest.fixture(scope="module")
def stub(address: str) -> Iterator[Any]:
    """A stub of the service at the shared server, which says by health and reflection that it has it."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        assert SERVICE in [one.name for one in listed.list_services_response.service]
        yield GRPCInferenceServiceStub(channel)


def parameter(value: object) -> oip.InferParameter:
    """A value as a parameter of its kind."""
    kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
    return oip.InferParameter(**{kind: value})


def asked(
    model: str, inputs: dict[str, Array], *wanted: str, typed: bool = False, version: str = "", **parameters: object
) -> oip.ModelInferRequest:
    """A request, its inputs raw or typed."""
    request = oip.ModelInferRequest(model_name=model, model_version=version, id="7")
    for name, array in inputs.items():
        datatype = NAMES["string" if array.dtype == object else array.dtype.name]
        given = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        elements = [text.encode() for text in array.ravel()] if array.dtype == object else array.ravel().tolist()
        if typed:
            getattr(given.contents, FIELDS[datatype]).extend(elements)
        else:
            raw = (
                b"".join(len(text).to_bytes(4, "little") + text for text in elements) if datatype == "BYTES" else array.tobytes()
            )
            request.raw_input_contents.append(raw)
    request.outputs.extend(oip.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in wanted)
    for name, value in parameters.items():
        request.parameters[name].CopyFrom(parameter(value))
    return request


def outputs(response: oip.ModelInferResponse) -> dict[str, Array]:
    """The arrays of a response; strings as the bytes that came."""
    assert len(response.outputs) == len(response.raw_output_contents)
    assert not any(output.HasField("contents") for output in response.outputs)
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {
        output.name: np.frombuffer(raw, DTYPES.get(output.datatype, np.uint8)).reshape(
            output.shape if output.datatype in DTYPES else -1
        )
        for output, raw in pairs
    }


@pytest.mark.parametrize("typed", [False, True])
def test_the_numbers_are_those_of_predict_and_explain(stub: Any, client: Client, digest: str, typed: bool) -> None:
    """Bit for bit, for typed and raw inputs: outputs alone without parameters, with them the explanation and its facts."""
    feeds = models.image(3)
    response = stub.ModelInfer(asked(digest, feeds, typed=typed))
    assert (response.model_name, response.model_version, response.id) == (digest, "1", "7")
    assert [output.name for output in response.outputs] == ["y"]
    np.testing.assert_array_equal(outputs(response)["y"], client.predict(digest, feeds)["y"])
    response = stub.ModelInfer(asked(f"models/{digest}", feeds, typed=typed, version="1", **IG))
    expected = client.explain(digest, feeds, "integrated_gradients", {"output": "y", "index": 1}, parameters={"steps": 8})
    found = outputs(response)
    assert list(found) == ["y", "attribution:x", "explanation:output_value", "explanation:baseline_value", "explanation:residual"]
    np.testing.assert_array_equal(found["attribution:x"], expected.values["x"])
    for name in ("output_value", "baseline_value", "residual"):
        np.testing.assert_array_equal(found[f"explanation:{name}"], getattr(expected, name))
    facts = response.parameters
    assert facts["model_digest"].string_param == digest
    assert (facts["explain_method"].string_param, facts["explain_output"].string_param) == ("integrated_gradients", "y")
    assert json.loads(facts["explain_parameters"].string_param)["steps"] == 8


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("argmax", None),
        ("y:argmax", None),
        (2, 2),
        ("2", 2),
        ("y:2", 2),
        ("[0, 2]", [0, 2]),
        ('{"index": 0, "against": 2}', None),
    ],
)
def test_targets_are_spelt_as_on_the_command_line(stub: Any, client: Client, digest: str, target: object, same: Any) -> None:
    """argmax, an index, one for each item, with an output before it, or JSON."""
    same = {"index": 0, "against": 2} if isinstance(target, str) and "against" in target else same
    response = stub.ModelInfer(asked(digest, models.image(), "attribution:x", explain_target=target))
    np.testing.assert_array_equal(
        outputs(response)["attribution:x"], client.explain(digest, models.image(), target=same).values["x"]
    )


def test_parameters_of_the_method(stub: Any, client: Client, digest: str) -> None:
    """Numbers, and whatever else as JSON in a text: seed, inputs, an array of background data."""
    background = models.image(4)["x"]
    given = {
        "explain_method": "expected_gradients", "explain_samples": "6", "explain_seed": 3, "explain_inputs": "x",
        "explain_background": json.dumps(background.astype(float).tolist()), "explain_target": 0,
    }  # fmt: skip
    request = asked(digest, models.image(), "explanation:output_value", "attribution:x", **given)
    response = stub.ModelInfer(request)
    expected = client.explain(
        digest, models.image(), "expected_gradients", 0, seed=3, inputs_wanted=["x"],
        parameters={"samples": 6, "background": background.astype(float).tolist()},
    )  # fmt: skip
    assert [output.name for output in response.outputs] == ["explanation:output_value", "attribution:x"]
    np.testing.assert_array_equal(outputs(response)["attribution:x"], expected.values["x"])
    assert price(request) == 2 + 2 * 2 * 6 * 4  # a forward an item, and 6 forward and backward passes for each of 4 rows


def test_texts_and_integers(stub: Any, client: Client) -> None:
    """BYTES go in and come out with their lengths before them, raw or typed; int64 likewise."""
    model = client.upload(models.labelled())
    feeds = {"x": models.weights(2, 4), "word": np.array(["äh", ""], object)}
    for typed in (False, True):
        response = stub.ModelInfer(asked(model, feeds, typed=typed))
        assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [("y", "FP32", [2, 3]), ("echo", "BYTES", [2])]
        assert response.raw_output_contents[1] == b"\3\0\0\0\xc3\xa4h\0\0\0\0"
    model, ids = client.upload(models.embedding()), {"ids": np.array([[1, 2, 3, 4, 5]])}
    for typed in (False, True):
        found = outputs(stub.ModelInfer(asked(model, ids, typed=typed)))
        np.testing.assert_array_equal(found["y"], client.predict(model, ids)["y"])


def test_what_there_is(stub: Any, client: Client, digest: str) -> None:
    """Live and ready; a model by digest or unique name, in version 1; false, and nothing more, for what the caller has not."""
    assert stub.ServerLive(oip.ServerLiveRequest()).live
    assert stub.ServerReady(oip.ServerReadyRequest()).ready
    server = stub.ServerMetadata(oip.ServerMetadataRequest())
    assert (server.name, list(server.extensions)) == ("explainsvc", ["explain"])
    found = stub.ModelMetadata(oip.ModelMetadataRequest(name=digest))
    assert [(t.name, t.datatype, list(t.shape)) for t in (*found.inputs, *found.outputs)] == [
        ("x", "FP32", [-1, 1, 6, 6]), ("y", "FP32", [-1, 3]),
    ]  # fmt: skip
    assert (found.platform, list(found.versions)) == ("onnxruntime_onnx", ["1"])
    names = {digest: True, f"models/{digest}": True, 64 * "0": False, "zebra": False, "": False, "models/": False}
    assert {name: stub.ModelReady(oip.ModelReadyRequest(name=name)).ready for name in names} == names
    assert not stub.ModelReady(oip.ModelReadyRequest(name=digest, version="2")).ready


def wrong(digest: str, file: Path) -> dict[str, tuple[oip.ModelInferRequest, str, str]]:
    """Requests that cannot be answered: their code and a word of the message."""
    feeds = models.image()
    two, half, short = asked(digest, feeds), asked(digest, feeds), asked(digest, feeds)
    two.inputs[0].contents.fp32_contents.append(1)
    half.inputs[0].datatype = "FP8"
    short.raw_input_contents[0] = short.raw_input_contents[0][:-1]
    field = asked(digest, feeds, typed=True)
    field.inputs[0].datatype = "INT8"
    shared = asked(digest, feeds)
    shared.inputs[0].parameters["shared_memory_region"].string_param = "here"
    more = asked(digest, feeds)
    more.raw_input_contents.append(b"")
    large = asked(digest, {"x": np.array([[300]])}, typed=True)
    large.inputs[0].datatype = "INT8"
    large.inputs[0].contents.int_contents.append(300)
    large.inputs[0].contents.ClearField("int64_contents")
    return {
        "typed and raw": (two, "INVALID_ARGUMENT", "contents and in raw_input_contents"),
        "a type that is not known": (half, "INVALID_ARGUMENT", "'FP8', expected one of"),
        "too few bytes": (short, "INVALID_ARGUMENT", "has 287 bytes, expected 288"),
        "the field of another type": (field, "INVALID_ARGUMENT", "expected INT8 in int_contents"),
        "shared memory": (shared, "INVALID_ARGUMENT", "shared_memory_region"),
        "more raw contents than inputs": (more, "INVALID_ARGUMENT", "has 2 entries"),
        "an element out of range": (large, "INVALID_ARGUMENT", "no INT8 holds"),
        "an unknown input": (asked(digest, {"z": feeds["x"]}), "INVALID_ARGUMENT", "z"),
        "an unknown output": (asked(digest, feeds, "zebra"), "INVALID_ARGUMENT", "there are y"),
        "no explanation asked for": (asked(digest, feeds, "attribution:x"), "INVALID_ARGUMENT", "explain_"),
        "the same output twice": (asked(digest, feeds, "y", "y"), "INVALID_ARGUMENT", "twice"),
        "another parameter": (asked(digest, feeds, priority=1), "INVALID_ARGUMENT", "priority"),
        "an unknown method": (asked(digest, feeds, explain_method="zebra"), "INVALID_ARGUMENT", "zebra"),
        "an unknown parameter": (asked(digest, feeds, explain_zebra=1), "INVALID_ARGUMENT", "zebra"),
        "a file": (
            asked(digest, feeds, explain_method="deep_shap", explain_background=str(file)), "INVALID_ARGUMENT", "background",
        ),
        "a long text": (asked(digest, feeds, explain_background="1" * 2**17), "INVALID_ARGUMENT", "longer than"),
        "a seed that is none": (asked(digest, feeds, explain_seed=-1), "INVALID_ARGUMENT", "explain_seed"),
        "a target that is none": (asked(digest, feeds, explain_target="[[1], [2, 3]]"), "OUT_OF_RANGE", "no target"),
        "a target far out": (asked(digest, feeds, explain_target=9 * "9" + 40 * "9"), "OUT_OF_RANGE", "no target"),
        "a target outside": (asked(digest, feeds, explain_target=3), "OUT_OF_RANGE", "out of range"),
        "a model of nobody": (asked(64 * "0", feeds), "NOT_FOUND", "no model"),
        "a version": (asked(digest, feeds, version="2"), "NOT_FOUND", "version 1"),
    }  # fmt: skip


def test_refusals_are_typed(stub: Any, digest: str, tmp_path: Path) -> None:
    """What cannot be answered is refused by code, reason and name of what is wrong; a file's name is never opened."""
    np.save(file := tmp_path / "background.npy", models.image()["x"])
    requests = wrong(digest, file)
    found = {name: outcome(stub.ModelInfer, request) for name, (request, _, _) in requests.items()}
    expected = {name: code for name, (_, code, _) in requests.items()}
    assert {name: code for name, (code, _, _) in found.items()} == expected
    assert [(name, found[name][1]) for name, (_, _, words) in requests.items() if words not in found[name][1]] == []
    assert all("ErrorInfo" in details(status) for _, _, status in found.values())


def test_a_deadline_reaches_the_worker(stub: Any, client: Client) -> None:
    """A prediction without end ends with the caller's deadline, and the worker answers the next call."""
    model = client.upload(models.loop())
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(asked(model, models.rounds(models.ENDLESS)), timeout=1)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.ModelInfer(asked(model, models.rounds(2)), timeout=20).outputs[0].name == "y"
