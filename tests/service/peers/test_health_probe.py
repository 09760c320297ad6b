"""grpc-health-probe, as Kubernetes and people use it, against a server with TLS and tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest

from explainsvc.client import Client
from explainsvc.service import health
from explainsvc.service.config import Config
from explainsvc.service.server import SERVICES, in_thread
from tests.house.repository import ROOT
from tests.service.certificates import authority, signed
from tests.service.edges import TOKENS, principals

MODULE = "github.com/grpc-ecosystem/grpc-health-probe@v0.4.62"
FOLDER = ROOT / ".cache" / "peers" / "health-probe"
UNHEALTHY, NO_CONNECTION = 3, 2
"""Exit codes of the probe for a call that failed and a connection that did."""
pytestmark = [pytest.mark.exhaustive, pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")]


@pytest.fixture(scope="module")
def probe() -> Path:
    """The probe, built once into a folder of its own."""
    path = FOLDER / "grpc-health-probe"
    if not path.is_file():
        environment = os.environ | {"GOBIN": str(FOLDER), "GOPATH": str(FOLDER / "go"), "GOFLAGS": "-modcacherw"}
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "install", MODULE], check=True, env=environment, timeout=600)
    return path


@pytest.mark.timeout(900)
def test_the_probe_finds_the_server_its_services_and_a_model(probe: Path, tmp_path: Path, cnn_bytes: bytes) -> None:
    """0 for what serves, without a token; not 0 for an unknown service, a model without a token, an untrusted certificate."""
    root = authority()
    certificate, key = signed(root, "localhost").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(root.chain)
    (tmp_path / "other.pem").write_bytes(authority("other").chain)
    config = Config(
        address="127.0.0.1:0", store=tmp_path / "store", workers=1, worker_threads=1, tls_certificate=certificate, tls_key=key,
        principals=principals(tmp_path / "principals.toml"),
    )  # fmt: skip
    with in_thread(config) as listening:

        def code(service: str, *options: str, ca: str = "ca.pem") -> int:
            command = [probe, "-addr", listening.grpc, "-tls", "-tls-ca-cert", tmp_path / ca, "-service", service, *options]
            return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode

        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(root.chain), grpc.access_token_call_credentials(TOKENS["alice"])
        )
        with Client(listening.grpc, credentials=credentials) as client:
            model = health.MODELS + client.upload(cnn_bytes)
        token = ("-rpc-header", f"authorization: Bearer {TOKENS['alice']}")
        assert [code(service) for service in ("", *SERVICES)] == [0] * (1 + len(SERVICES))
        assert (code(model, *token), code(model), code("zebra")) == (0, UNHEALTHY, UNHEALTHY)
        assert code("", ca="other.pem") == NO_CONNECTION
