"""Node, from reflection alone: upload, explain, stream, batch, a typed refusal."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from explainsvc.client import Client
from tests.peers import environments
from tests.service import models

pytestmark = pytest.mark.exhaustive


@pytest.mark.timeout(environments.SECONDS)
def test_node(address: str, client: Client, tmp_path: Path) -> None:
    """A client that has never seen the protos gets our own client's numbers, the same at the end of a stream, and the errors."""
    home = environments.node("@grpc/grpc-js@1.14.7", "grpc-js-reflection-client@1.4.2")
    (tmp_path / "model.onnx").write_bytes(models.cnn())
    script = Path(__file__).with_name("client.js")
    command = ["node", str(script), address, str(tmp_path / "model.onnx")]
    done = subprocess.run(
        command, env={"PEER_HOME": str(home), "PATH": "/usr/bin:/bin:/usr/local/bin"}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"explainsvc.v1.ExplanationService", "google.longrunning.Operations", "grpc.health.v1.Health"} <= set(
        found["services"]
    )
    x = np.array(found["x"], np.float32).reshape(1, 1, 6, 6)
    truth = client.explain(found["digest"], {"x": x}, "smoothgrad", 2).values["x"].astype("<f4").tobytes()
    assert base64.b64decode(found["values"]) == truth
    assert base64.b64decode(found["streamed"]) == truth
    assert set(found["events"]) == {"progress", "partial", "result"}
    assert found["batch"] == {"good": "result", "bad": "error"}
    assert found["refused"] == {"code": 3, "details": 1}
