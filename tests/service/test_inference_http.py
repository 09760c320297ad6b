"""KServe's protocols over HTTP: the numbers of Explain and Predict as JSON, and refusals by status and reason."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from onnx import helper

from explainsvc.client import Client
from explainsvc.service.config import Config
from explainsvc.service.server import in_thread
from explainsvc.upload_client import announced, messages
from tests.house.repository import ROOT
from tests.service import models

NAME = "digits: v2/fp32"
Server = tuple[str, Client, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with its HTTP port, a client of its gRPC port, and the digest of the net, whose name is an awkward one."""
    config = Config(
        address="127.0.0.1:0", http_address="127.0.0.1:0", store=tmp_path_factory.mktemp("store"), workers=1, worker_threads=1,
        spare_workers=0, max_message_bytes=2**20,
    )  # fmt: skip
    with in_thread(config) as listening, Client(listening.grpc) as client:
        data = models.cnn()
        response = client._models.UploadModel(messages(announced(NAME, data, {}), {"": data}, {}))
        yield listening.http, client, response.model.digest


def ask(server: Server, path: str, body: Any = None, *options: str) -> tuple[int, Any]:
    """Status and JSON of an answer to curl."""
    data = [] if body is None else ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    command = ["curl", "-sS", "-w", "\n%{http_code}", *data, *options, f"http://{server[0]}{path}"]
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    done = subprocess.run(command, input=sent, capture_output=True, check=True, timeout=60)
    text, _, status = done.stdout.decode().rpartition("\n")
    return int(status), json.loads(text)


def array(values: Any) -> models.Array:
    """What JSON's numbers are as float32, bit for bit."""
    return np.array(values, np.float32)


def test_explain_and_predict(server: Server) -> None:
    """An entry an instance, with the numbers of Explain and Predict, bit for bit; by input where whole tensors came."""
    _, client, digest = server
    feeds = models.image(3)
    rows = {"instances": feeds["x"].tolist()}
    status, answer = ask(server, f"/v1/models/{digest}:predict", rows)
    assert status == 200
    np.testing.assert_array_equal(array(answer["predictions"]), client.predict(digest, feeds)["y"])
    options = {"explain_method": "integrated_gradients", "explain_target": 1, "parameters": {"explain_steps": 8}}
    status, answer = ask(server, f"/v1/models/models/{digest}:explain", rows | options)
    expected = client.explain(digest, feeds, "integrated_gradients", 1, parameters={"steps": 8})
    assert (status, answer["method"], answer["model_digest"], answer["target"]) == (200, "integrated_gradients", digest, "y[1]")
    found = answer["explanations"]
    np.testing.assert_array_equal(array([one["attributions"]["x"] for one in found]), expected.values["x"])
    for name in ("output_value", "baseline_value", "residual"):
        np.testing.assert_array_equal([one[name] for one in found], getattr(expected, name))
    status, answer = ask(server, f"/v1/models/{digest}:explain", {"inputs": {"x": feeds["x"].tolist()}} | options)
    np.testing.assert_array_equal(array(answer["explanations"]["attributions"]["x"]), expected.values["x"])


@pytest.mark.parametrize("name", [NAME.replace(" ", "%20"), quote(NAME), quote(NAME, safe="")])
def test_names_in_paths(server: Server, name: str) -> None:
    """Colons and slashes are part of a name, percent-encoded or not; a model of nobody is not there."""
    assert ask(server, f"/v1/models/{name}:predict", {"instances": models.image(1)["x"].tolist()})[0] == 200
    assert ask(server, f"/v1/models/{name}") == (200, {"name": NAME, "ready": True})
    assert ask(server, f"/v2/models/{name}/versions/1/ready") == (200, {"name": NAME, "ready": True})
    assert ask(server, f"/v2/models/{name}/versions/2/ready") == (404, {"name": NAME, "ready": False})
    status, answer = ask(server, f"/v1/models/{name}z:explain", {"instances": [1]})
    assert (status, answer["details"][0]["reason"]) == (404, "MODEL_NOT_FOUND")


def test_instances_with_names_and_types(server: Server) -> None:
    """Several inputs are an object an instance; texts, integers and answers that are several outputs."""
    _, client, _ = server
    digest = client.upload(models.labelled())
    x = models.weights(2, 4)
    rows = [{"x": row.tolist(), "word": word} for row, word in zip(x, ("äh", "NaN"), strict=True)]
    status, answer = ask(server, f"/v1/models/{digest}:predict", {"instances": rows})
    expected = client.predict(digest, {"x": x, "word": np.array(["äh", "NaN"])})
    assert (status, [row["echo"] for row in answer["predictions"]]) == (200, ["äh", "NaN"])
    np.testing.assert_array_equal(array([row["y"] for row in answer["predictions"]]), expected["y"])
    digest = client.upload(models.embedding())
    status, answer = ask(server, f"/v1/models/{digest}:predict", {"instances": [[1, 2, 3, 4, 5.0]]})
    expected = client.predict(digest, {"ids": np.array([[1, 2, 3, 4, 5]])})
    np.testing.assert_array_equal(array(answer["predictions"]), expected["y"])


def test_the_second_version_of_the_protocol(server: Server) -> None:
    """Live, ready, metadata, and infer with an explanation, as over gRPC."""
    _, client, digest = server
    assert ask(server, "/v2/health/live") == (200, {"live": True})
    assert ask(server, "/v2/health/ready") == (200, {"ready": True})
    assert ask(server, "/v2")[1]["extensions"] == ["explain"]
    status, answer = ask(server, f"/v2/models/{digest}")
    assert (status, answer["inputs"]) == (200, [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 6, 6]}])
    feeds = models.image()
    body = {
        "id": "8", "inputs": [{"name": "x", "shape": [2, 1, 6, 6], "datatype": "FP32", "data": feeds["x"].ravel().tolist()}],
        "parameters": {"explain_target": [0, 1], "binary_data_output": False}, "outputs": [{"name": "attribution:x"}],
    }  # fmt: skip
    status, answer = ask(server, f"/v2/models/{digest}/infer", body)
    assert (status, answer["id"], answer["model_version"], answer["parameters"]["explain_method"]) == (200, "8", "1", "gradient")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("attribution:x", "FP32", [2, 1, 6, 6])
    expected = client.explain(digest, feeds, target=[0, 1]).values["x"]
    np.testing.assert_array_equal(array(output["data"]).reshape(output["shape"]), expected)


def test_the_page_s_examples(server: Server) -> None:
    """The lines of docs/oip.md for curl do what they say."""
    page = (ROOT / "docs" / "oip.md").read_text(encoding="utf-8")
    lines = [block for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if block.startswith("curl")]
    environment = os.environ | {"TOKEN": "", "DIGEST": server[1].upload(models.linear())}
    commands = [one for block in lines for one in block.replace("localhost:9090", server[0]).strip().split("\n\n")]
    answers = []
    for command in commands:
        done = subprocess.run(["bash", "-ec", command], env=environment, capture_output=True, text=True, check=True, timeout=60)
        answers.append(json.loads(done.stdout))
    predicted, explained, ready, metadata, inferred = answers
    assert np.shape(predicted["predictions"]) == (2, 3)
    document = json.loads(re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[0])
    assert explained.keys() == document.keys()
    assert explained["explanations"][0].keys() == document["explanations"][0].keys()
    assert (ready, metadata["outputs"][0]["name"]) == ({"ready": True}, "y")
    assert [output["name"] for output in inferred["outputs"]] == ["attribution:x"]


ONE = models.image(1)["x"].tolist()
REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "NaN": (":predict", b'{"instances": [[NaN]]}', 400, "no number of JSON"),
    "infinity": (":predict", b'{"instances": [[-Infinity]]}', 400, "no number of JSON"),
    "beyond every float": (":predict", b'{"instances": [[1e999]]}', 400, "beyond every float"),
    "beyond float32": (":predict", {"instances": [[[[1e300] * 6] * 6]]}, 400, "no float32 holds"),
    "half an integer": (":predict", {"inputs": {"x": ONE, "n": 0.5}}, 400, "n"),
    "no JSON": (":predict", b"{", 400, "no JSON"),
    "no text": (":predict", b'{"instances": ["\\ud800"]}', 400, "no JSON"),
    "deep": (":predict", b"[" * 60_000, 400, "no JSON"),
    "many lists": (":predict", b'{"instances": [' + b"[]," * 2**16 + b"1]}", 400, "too much for JSON"),
    "no object": (":predict", [1], 400, "expected a JSON object"),
    "no inputs": (":explain", {}, 400, "instances"),
    "no instance": (":explain", {"instances": []}, 400, "at least one"),
    "ragged": (":explain", {"instances": [[1], [1, 2]]}, 400, "rows of different lengths"),
    "texts": (":explain", {"instances": ["a"]}, 400, "other values"),
    "another input": (":explain", {"instances": [{"z": 1}]}, 400, "z"),
    "an unknown key": (":explain", {"instances": ONE, "method": "lrp"}, 400, "method: is not known"),
    "an unknown parameter": (":explain", {"instances": ONE, "parameters": {"steps": 3}}, 400, "steps"),
    "an option twice": (":explain", {"instances": ONE, "explain_seed": 1, "parameters": {"explain_seed": 1}}, 400, "twice"),
    "an option of a prediction": (":predict", {"instances": ONE, "explain_seed": 1}, 400, "is for :explain"),
    "a target outside": (":explain", {"instances": ONE, "explain_target": 7}, 400, "out of range"),
    "a target of no kind": (":explain", {"instances": ONE, "explain_target": {"index": [[1], [2, 3]]}}, 400, "no target"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(server: Server, name: str) -> None:
    """A request that cannot be answered gets 400, the reason and what is wrong with it."""
    path, body, code, words = REFUSED[name]
    status, answer = ask(server, f"/v1/models/{server[2]}{path}", body)
    assert (status, answer["code"]) == (code, code)
    assert words in answer["error"]
    assert answer["details"][0]["domain"] == "explainsvc"


def test_an_answer_that_json_cannot_hold(server: Server) -> None:
    """Infinity in an output is refused by the output's name, in both versions of the protocol."""
    _, client, _ = server
    node = helper.make_node("Reciprocal", ["x"], ["y"])
    shape = (models.FLOAT, ["batch", 2])
    digest = client.upload(models.model([node], {"x": shape}, {"y": shape}).SerializeToString())
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0, 1]}
    for path, body in (
        (f"/v1/models/{digest}:predict", {"instances": [[0, 1]]}),
        (f"/v2/models/{digest}/infer", {"inputs": [tensor]}),
    ):
        status, answer = ask(server, path, body)
        assert (status, 'outputs["y"]: holds NaN or infinity' in answer["error"]) == (
            400,
            True,
        )


def test_whoever_hangs_up_frees_the_worker(server: Server) -> None:
    """A prediction without end ends when its caller goes away, and the only worker answers the next one."""
    path = f"/v1/models/{server[1].upload(models.loop())}:predict"
    x = np.ones((1, 4)).tolist()
    with pytest.raises(subprocess.CalledProcessError):
        ask(server, path, {"inputs": {"x": x, "n": [models.ENDLESS]}}, "--max-time", "1")
    status, answer = ask(server, path, {"inputs": {"x": x, "n": [2]}}, "--max-time", "20")
    np.testing.assert_allclose(answer["predictions"]["y"], np.tanh(np.tanh(x)), rtol=1e-6)
    assert status == 200


def test_bodies_are_bounded(server: Server) -> None:
    """Too large by its own word: refused unread; without one: as soon as it is; compressed: not looked into."""
    path = f"/v1/models/{server[2]}:predict"
    host, port = server[0].split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {2**21}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")  # no byte of the body was sent
    large = json.dumps({"instances": [[0] * 2**20]}).encode()
    assert ask(server, path, large, "-H", "Transfer-Encoding: chunked", "-H", "Expect:")[0] == 413
    assert ask(server, path, gzip.compress(large), "-H", "Content-Encoding: gzip")[0] == 415
    assert ask(server, path, {"instances": ONE})[0] == 200
