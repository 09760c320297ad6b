"""grpcurl and ghz, built from their sources: reflection, a refusal with its details, and load."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explainsvc.client import Client
from tests.peers import environments
from tests.service import models

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(environments.SECONDS)]
EXPLAIN = "explainsvc.v1.ExplanationService/Explain"


def request(digest: str, method: str = "gradient") -> dict[str, Any]:
    """Explain, as protobuf's JSON."""
    x = models.image()["x"]
    data = base64.b64encode(x.astype("<f4").tobytes()).decode()
    tensor = {"dtype": "DATA_TYPE_FLOAT32", "shape": list(x.shape), "data": data}
    return {"modelDigest": digest, "inputs": [{"name": "x", "tensor": tensor}], "method": method}


def test_grpcurl(address: str, client: Client, digest: str) -> None:
    """It lists and describes what is there, gets our own client's numbers, and decodes the details of a refusal."""
    tool = environments.go("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.4")

    def grpcurl(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool, "-plaintext", *arguments], capture_output=True, text=True, check=False, timeout=60)

    assert "explainsvc.v1.AuditService" in grpcurl(address, "list").stdout.split()
    described = grpcurl(address, "describe", "explainsvc.v1.ExplanationService").stdout
    assert "rpc ExplainBatch ( stream .explainsvc.v1.ExplainBatchRequest )" in described
    answer = json.loads(grpcurl("-d", json.dumps(request(digest)), address, EXPLAIN).stdout)
    values = np.frombuffer(base64.b64decode(answer["attribution"]["values"][0]["tensor"]["data"]), "<f4")
    np.testing.assert_array_equal(values, client.explain(digest, models.image()).values["x"].reshape(-1))
    refused = grpcurl("-d", json.dumps(request(digest, "gradiant")), address, EXPLAIN)
    assert refused.returncode != 0
    for words in ("InvalidArgument", "UNKNOWN_METHOD", "google.rpc.BadRequest", '"field": "method"'):
        assert words in refused.stderr


def test_ghz(address: str, digest: str, tmp_path: Path) -> None:
    """Of 500 calls over 8 connections none fails."""
    tool = environments.go("github.com/bojand/ghz/cmd/ghz", "v0.121.0")
    (tmp_path / "request.json").write_text(json.dumps(request(digest)))
    command = [str(tool), "--insecure", "--call", EXPLAIN, "-D", "request.json", "-n", "500", "-c", "8", "--connections", "8"]
    done = subprocess.run(
        [*command, "--format", "json", address], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["statusCodeDistribution"] == {"OK": 500}
