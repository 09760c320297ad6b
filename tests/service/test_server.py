"""The server as a process of its own: it says where it listens, and drains on SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError
from tests.service import models


def test_sigterm_drains(tmp_path: Path) -> None:
    """A request that runs when SIGTERM comes is answered; then the process ends with 0."""
    python_path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "explainsvc.service.server", "--address", "127.0.0.1:0", "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--store", tmp_path / "store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": python_path},
    )
    with server, ThreadPoolExecutor() as threads:
        assert server.stdout is not None
        address = server.stdout.readline().removeprefix("listening on ").strip()
        with Client(address) as client:
            digest = client.upload(models.loop())
            client.predict(digest, models.rounds(1))
            running = threads.submit(client.predict, digest, models.rounds(1_000_000))
            with pytest.raises(TimeoutError):
                running.result(timeout=0.3)
            os.kill(server.pid, signal.SIGTERM)
            assert running.result(timeout=60)["y"].shape == (1, 4)
        assert server.wait(timeout=20) == 0


def test_no_server() -> None:
    """Without a server the client says where it looked and what to do."""
    with Client("127.0.0.1:9") as client, pytest.raises(ExplainsvcError, match=r"127\.0\.0\.1:9.*explainsvc serve"):
        client.methods()
