"""What the server answers is what the library computes, bit for bit."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import explainsvc
from explainsvc import Attribution, cli
from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError
from explainsvc.model import Model
from tests import models as small
from tests.graph.test_quantised import fake_quantised_mlp
from tests.methods.little import little
from tests.models import numbers, weights
from tests.service import models

SEED = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
TARGETS = [
    None,
    1,
    [0, 2],
    {"output": "y"},
    {"output": "y", "index": (2,)},
    {"output": "y", "index": [1, 0]},
    {"output": "y", "index": 0, "against": 2},
    {"output": "y", "index": [0, 1], "against": [2, 2]},
    {"output": "y", "seed": SEED},
]


def assert_equal(here: Attribution, there: Attribution) -> None:
    """Every field is equal; arrays in bytes, dtype and shape."""
    assert here.values.keys() == there.values.keys()
    arrays = [(here.values[name], there.values[name]) for name in here.values]
    arrays.append((here.target.seed, there.target.seed))
    arrays += [(getattr(here, name), getattr(there, name)) for name in ("output_value", "baseline_value", "residual")]
    for left, right in arrays:
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    assert here.to_json() == there.to_json()
    kinds = [{name: type(value) for name, value in side.parameters.items()} for side in (here, there)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("items", [1, 1000, 40_000])
def test_every_size(client: Client, digest: str, cnn: Model, items: int) -> None:
    """Values that lie in the pipe, in the window that server and worker share, and that are too large for it."""
    inputs = {"x": np.random.default_rng(0).standard_normal((items, 1, 6, 6), np.float32)}
    assert_equal(cnn.explain(inputs, target=1), client.explain(digest, inputs, target=1))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_form_of_target(client: Client, digest: str, cnn: Model, target: Any) -> None:
    """A target means the same on both sides."""
    inputs = models.image()
    assert_equal(cnn.explain(inputs, target=target), client.explain(digest, inputs, target=target))


def test_kept_rounding(client: Client) -> None:
    """A quantised model is explained and compiled with its rounding where that is asked for, and without otherwise."""
    proto, x = fake_quantised_mlp(weights("w", 5, 6), (0.02, 0.015)), numbers(7, 5)
    local, digest = explainsvc.load(proto), client.upload(proto.SerializeToString())
    kept = client.explain(digest, {"x": x}, straight_through=True)
    assert_equal(local.straight_through.explain({"x": x}), kept)
    assert_equal(local.explain({"x": x}), client.explain(digest, {"x": x}))
    assert kept.caveats != local.caveats
    assert b"Round" in client.compile(digest, straight_through=True)
    assert b"Round" not in client.compile(digest)


def test_a_layer(client: Client) -> None:
    """The values of an inner value, by a gradient and by many forwards, and the graph that gives them."""
    local, x = explainsvc.load(small.cnn()), numbers(2, 2, 8, 8)
    digest = client.upload(small.cnn().SerializeToString())
    for method in ("gradient", "occlusion"):
        here = local.explain({"x": x}, method, 1, inputs=["r1"])
        assert_equal(here, client.explain(digest, {"x": x}, method, 1, inputs_wanted=["r1"]))
    assert b"explain.r1" in client.compile(digest, inputs_wanted=["r1"])


@pytest.mark.parametrize("method", sorted(explainsvc.methods()))
def test_every_method(client: Client, digest: str, cnn: Model, method: str) -> None:
    """Every method gives the same numbers, those with random numbers too, or the same refusal."""
    inputs = models.image()
    parameters = little(method, inputs, cnn)

    def there() -> Attribution:
        return client.explain(digest, inputs, method, 0, seed=7, parameters=parameters)

    try:
        here = cnn.explain(inputs, method, 0, seed=7, **parameters)
    except ExplainsvcError as error:
        refusal = error
    else:
        assert_equal(here, there())
        return
    with pytest.raises(type(refusal), match=re.escape(refusal.what)):
        there()


def test_parameters_of_every_kind(client: Client, digest: str, cnn: Model) -> None:
    """Numbers, strings and arrays arrive as they were given."""
    inputs = models.image()
    baseline = np.full((2, 1, 6, 6), 0.25, np.float32)
    for given in (0.5, "mean", baseline):
        parameters = {"steps": 4, "baseline": given}
        here = cnn.explain(inputs, "integrated_gradients", 1, **parameters)
        assert_equal(here, client.explain(digest, inputs, "integrated_gradients", 1, parameters=parameters))


def test_predict_is_onnxruntime(client: Client, digest: str, cnn_bytes: bytes) -> None:
    """Predict gives the untouched model's outputs."""
    session = onnxruntime.InferenceSession(cnn_bytes, providers=["CPUExecutionProvider"])
    expected = session.run(None, models.image())[0]
    np.testing.assert_array_equal(client.predict(digest, models.image())["y"], expected)


def test_strings_travel(client: Client) -> None:
    """String tensors go in and come out, with characters beyond ASCII."""
    digest = client.upload(models.labelled())
    words = np.array(["zèbre", ""], dtype=object)
    outputs = client.predict(digest, {"x": np.ones((2, 4), np.float32), "word": words})
    assert outputs["echo"].tolist() == words.tolist()
    assert outputs["y"].shape == (2, 3)


def test_inspect(client: Client, digest: str, cnn: Model) -> None:
    """InspectModel gives what ``Model.info`` gives."""
    assert client.inspect(digest) == cnn.info.to_json()


def test_inspect_says_the_same_everywhere(
    client: Client, address: str, cnn_bytes: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python, the client, and the command line here and against a server: nodes, rules, alternatives and cost alike."""
    path = tmp_path / "cnn.onnx"
    path.write_bytes(cnn_bytes)
    expected = explainsvc.load(path).info.to_json()
    assert len(expected["nodes"]) == len(onnx.load_from_string(cnn_bytes).graph.node)
    assert expected["cost"]["flops"] > 0
    assert client.inspect(client.upload(path)) == expected
    for server in ([], ["--server", address]):
        assert cli.main([*server, "inspect", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == expected


def test_inspect_of_every_kind_of_input(client: Client) -> None:
    """Facts of integer and string inputs travel too, with the reasons why they cannot be differentiated."""
    for data in (models.embedding(), models.labelled(), models.loop()):
        assert client.inspect(client.upload(data)) == explainsvc.load(data).info.to_json()


def test_cards(client: Client) -> None:
    """ListMethods gives the cards of methods and checks, equal to those of the library."""
    assert client.methods() == explainsvc.methods()
    assert client.checks() == explainsvc.checks()


def test_compiled_explanation(client: Client, digest: str, cnn: Model) -> None:
    """The compiled graph arrives whole and computes what Explain answers."""
    data = client.compile(digest, "gradient")
    onnx.checker.check_model(onnx.ModelProto.FromString(data))
    explanation = client.explain(digest, models.image(), "gradient", 2)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = models.image() | {"explain.seed": explanation.target.seed}
    (values,) = session.run(["explain.x"], feeds)
    np.testing.assert_allclose(values, explanation.values["x"], rtol=1e-5, atol=1e-7)


def test_results_beyond_four_megabytes(client: Client) -> None:
    """A compiled graph and a tensor larger than gRPC's default limit travel."""
    wide = np.random.default_rng(0).normal(size=(1200, 1200)).astype(np.float32)
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "wide")]
    kind = (models.FLOAT, ["batch", 1200])
    data = models.model(nodes, {"x": kind}, {"y": kind}, {"w": wide}).SerializeToString()
    digest = client.upload(data)
    assert len(client.compile(digest)) > 5_000_000
    x = np.ones((1200, 1200), np.float32)
    assert client.predict(digest, {"x": x})["y"].nbytes > 5_000_000


def test_external_data_beside_a_path(client: Client, tmp_path: Path) -> None:
    """A path brings its external data along; the digest is the library's."""
    data, files = models.external()
    (tmp_path / "model.onnx").write_bytes(data)
    (tmp_path / "weights.bin").write_bytes(files["weights.bin"])
    digest = client.upload(tmp_path / "model.onnx")
    assert digest == explainsvc.load(tmp_path / "model.onnx").digest == client.upload(data, files)
    x = np.ones((1, 4), np.float32)
    expected = explainsvc.load(data, external_data=files).predict({"x": x})["y"]
    np.testing.assert_array_equal(client.predict(digest, {"x": x})["y"], expected)


def test_models_are_listed_and_deleted(client: Client) -> None:
    """An uploaded model is listed under its digest until it is deleted."""
    digest = client.upload(models.bomb())
    listed = {model["digest"]: model for model in client.list_models()}
    assert listed[digest]["size_bytes"] == len(models.bomb())
    client.delete(digest)
    assert digest not in {model["digest"] for model in client.list_models()}


@pytest.mark.parametrize(("terminal", "rpc"), [(False, "Explain"), (True, "ExplainStream")])
def test_the_command_asks_for_progress_only_on_a_terminal(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, terminal: bool, rpc: str
) -> None:
    """Where nobody would see it, ``explain`` is the unary call, which the server may compute together with others."""
    model, inputs = tmp_path / "model.onnx", tmp_path / "x.npz"
    model.write_bytes(models.cnn())
    np.savez(inputs, **models.image())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    command = ["--server", address, "explain", str(model), "--inputs", str(inputs), "--method", "gradient"]
    with caplog.at_level(logging.INFO, "explainsvc.service.logs"):
        assert cli.main(command) == 0
    called = re.findall(r"ExplanationService/(Explain\w*)", "\n".join(record.getMessage() for record in caplog.records))
    assert called == [rpc]
