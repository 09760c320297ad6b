"""The short form of ``make fuzz-service``, and that it can fail."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from explainsvc.client import Client
from tests.service import models
from tests.service.fuzz.campaign import Attack, campaign
from tests.service.processes import server_process

SEEDS = [models.cnn(), models.linear(), models.embedding(), models.labelled()]


def test_mutations_are_refused(tmp_path: Path) -> None:
    """Mutated models and messages are answered or refused with typed errors; the server lives, stays small and answers others."""
    with server_process(tmp_path / "store", "--job-seconds", "20") as (server, address), Client(address) as client:
        digest = client.upload(models.cnn())
        found = campaign(address, digest, SEEDS, Attack(70, 11, server.pid, tmp_path))
        assert server.poll() is None
        assert client.predict(digest, models.image())["y"].shape == (2, 3)
    assert found.untyped == []
    assert found.outcomes["MODEL_MALFORMED"] > 5
    assert len(found.outcomes) > 5
    assert found.grown < 20_000_000


class Hopeless(grpc.GenericRpcHandler):
    """Answers nothing, slowly, and forgets nothing."""

    def __init__(self) -> None:
        self.remembered: list[bytes] = []

    def service(self, handler_call_details: Any) -> Any:  # noqa: ARG002  # the interface is grpc's
        """A handler for whatever comes."""

        def fail(*_: Any) -> Any:
            self.remembered.append(os.urandom(2**20))
            time.sleep(0.15)
            raise RuntimeError

        return grpc.stream_stream_rpc_method_handler(fail)


def test_a_hopeless_server_would_be_caught(tmp_path: Path) -> None:
    """The negative control: the same campaign finds untyped errors, delays and growing memory where there are some."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Hopeless()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        found = campaign(f"127.0.0.1:{port}", "0" * 64, SEEDS, Attack(12, 11, os.getpid(), tmp_path))
    finally:
        server.stop(None).wait()
    assert len(found.untyped) == 12 == len([path for path in tmp_path.iterdir() if path.is_file()])
    assert found.slow()
    assert found.grown > 4_000_000
