"""The server as a process of its own: it says where it listens, drains on SIGTERM, and reads its settings."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError, InvalidParameter
from explainsvc.service.config import Config, add_options, configured
from tests.service import models


def parsed(*arguments: str, **environment: str) -> Config:
    """The settings that these flags and variables make."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return configured(parser.parse_args(arguments), environment)


def test_flags_before_environment_before_defaults() -> None:
    """Every setting has one name in three places, in this order."""
    config = parsed("--workers", "3", EXPLAINSVC_WORKERS="5", EXPLAINSVC_STORE="/tmp/store")  # noqa: S108
    assert (config.workers, config.store, config.address) == (3, Path("/tmp/store"), "127.0.0.1:50551")  # noqa: S108


def test_unusable_settings_are_all_named() -> None:
    """What cannot be read or is too small is reported at once."""
    with pytest.raises(InvalidParameter) as error:
        parsed("--workers", "0", "--queue", "many")
    assert [violation.field for violation in error.value.violations] == ["workers", "queue"]


def test_sigterm_drains(tmp_path: Path) -> None:
    """A request that runs when SIGTERM comes is answered; then the process ends with 0."""
    python_path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "explainsvc.service.server", "--address", "127.0.0.1:0", "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--store", tmp_path / "store", "--spare-workers", "0"],
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
