"""google-api-core, in an environment of its own, polls and cancels audits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from explainsvc.client import Client
from tests.peers import environments
from tests.service import models

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(environments.SECONDS)]


def test_operations(address: str, client: Client, digest: str) -> None:
    """Google's client follows an audit to its end, lists it, cancels another, and reads the reason of a refusal."""
    python = environments.python("google-api-core", "google-api-core[grpc]==2.44.0", "grpcio-reflection")
    audit = client.audits.start(digest, models.image(3), methods=["gradient"], checks=["continuity"])
    loop = client.upload(models.loop())
    endless = client.audits.start(loop, models.rounds(models.ENDLESS), methods=["random"], checks=["continuity"])
    script = Path(__file__).with_name("lro.py")
    command = [str(python), "-I", str(script), address, f"audits/{audit}", f"audits/{endless}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["metadata"]) == (len(client.audits.get(audit).rows), audit)
    assert {f"audits/{audit}", f"audits/{endless}"} <= set(found["listed"])
    assert (found["before"], found["cancelled"], found["missing"]) == (False, True, "AUDIT_NOT_FOUND")
