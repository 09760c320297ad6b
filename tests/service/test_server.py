"""The server as a process of its own: it says where it listens, and drains on SIGTERM."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import drains
from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError


def test_sigterm_drains(tmp_path: Path) -> None:
    """Once the doctor has let it be ready: calls that run or wait at SIGTERM are answered, and who watches hears of it; twice."""
    for outcome in (drains.drain(tmp_path, checked=True), drains.drain(tmp_path)):
        assert (outcome.answered, outcome.lost, outcome.exit_code) == (drains.CALLS, 0, 0)
        assert (outcome.ready, outcome.watched) == ((200, 503), drains.NOT_SERVING)


def test_without_time_to_drain_calls_are_lost(tmp_path: Path) -> None:
    """The control of the test above: the same calls, and no grace."""
    assert drains.drain(tmp_path, grace=0).lost > 0


def test_no_server() -> None:
    """Without a server the client says where it looked and what to do."""
    with Client("127.0.0.1:9") as client, pytest.raises(ExplainsvcError, match=r"127\.0\.0\.1:9.*explainsvc serve"):
        client.methods()
