"""Triton's and KServe's own clients, each in an environment of its own, get the numbers of Explain and Predict."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explainsvc.client import Client
from explainsvc.service.server import Listening
from explainsvc.upload_client import announced, messages
from tests.house.repository import ROOT
from tests.peers import environments
from tests.service import models

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(environments.SECONDS)]
TRITON, KSERVE = ("tritonclient[grpc,http]==2.73.0", "numpy"), ("kserve==0.21.0",)
NAME = "digits:v2/fp32"


def asked(python: Path, script: str, *arguments: str) -> Any:
    """What a script prints."""
    command = [str(python), "-I", str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Inputs, in a file."""
    np.savez(path := tmp_path / "given.npz", x=models.image(3)["x"], four=models.weights(2, 4))
    return path


def expected(client: Client, digest: str) -> tuple[models.Array, Any]:
    """By our own client: the output, and the explanation that both scripts ask for."""
    feeds = models.image(3)
    explained = client.explain(digest, feeds, "integrated_gradients", 1, parameters={"steps": 8})
    return client.predict(digest, feeds)["y"], explained


def test_triton(listening: Listening, client: Client, digest: str, given: Path) -> None:
    """tritonclient over gRPC and over HTTP: metadata, raw inputs, texts, names with a colon and a slash, a typed refusal."""
    python = environments.python("tritonclient", *TRITON)
    words, data = client.upload(models.labelled()), models.linear_of_pictures()
    client._models.UploadModel(messages(announced(NAME, data, {}), {"": data}, {}))
    found = asked(python, "oip_triton.py", listening.grpc, listening.http, digest, words, NAME, str(given))
    y, explained = expected(client, digest)
    out = np.load(f"{given}.out.npz")
    np.testing.assert_array_equal(out["y"], y)
    np.testing.assert_array_equal(out["values"], explained.values["x"])
    np.testing.assert_array_equal(out["residual"], explained.residual)
    other = next(model["digest"] for model in client.list_models() if model["name"] == NAME)
    np.testing.assert_array_equal(out["by_name"], expected(client, other)[1].values["x"])
    assert (found["live"], found["ready"], found["model"], found["server"]) == (True, True, [True, False, True], "explainsvc")
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "1", "6", "6"]}]
    assert (found["id"], found["words"], found["method"]) == ("7", ["äh", ""], "integrated_gradients")
    assert found["refused"].startswith("StatusCode.INVALID_ARGUMENT")
    assert "expected float32" in found["refused"]


def test_kserve(listening: Listening, client: Client, digest: str, given: Path) -> None:
    """kserve over gRPC with typed and raw inputs; over HTTP by both versions, :explain of the first."""
    python = environments.python("kserve", *KSERVE)
    found = asked(python, "oip_kserve.py", listening.grpc, listening.http, digest, str(given))
    y, explained = expected(client, digest)
    out = np.load(f"{given}.out.npz")
    for name, values in {"y": y, "raw": y, "old": y}.items():
        np.testing.assert_array_equal(out[name], values, name)
    for name in ("values", "why", "new"):
        np.testing.assert_array_equal(out[name], explained.values["x"], name)
    assert (found["live"], found["ready"], found["model"], found["old"], found["new"]) == (True, True, [True, False], True, True)
    assert found["id"] == "7"
    assert found["names"] == [
        "attribution:x",
        "explanation:baseline_value",
        "explanation:output_value",
        "explanation:residual",
        "y",
    ]


@pytest.mark.parametrize(("name", "requirements"), [("tritonclient", TRITON), ("kserve", KSERVE)])
def test_the_page_s_examples(listening: Listening, digest: str, name: str, requirements: tuple[str, ...]) -> None:
    """The programs of docs/oip.md run as they stand there, but for address and digest."""
    page = (ROOT / "docs" / "oip.md").read_text(encoding="utf-8")
    (program,) = re.findall(rf"^```python\n# {name}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    program = program.replace("localhost:50551", listening.grpc).replace("DIGEST", digest)
    command = [str(environments.python(name, *requirements)), "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[[" in done.stdout
