"""A model that brings down workers, and servers that are killed and started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from explainsvc.client import Client
from explainsvc.errors import ModelQuarantined, WorkerTimedOut
from tests.service import models
from tests.service.processes import server_process

SETTINGS = ("--quarantine-kills", "2", "--job-cpu-seconds", "1")


@pytest.mark.slow
def test_a_quarantine_outlives_kill_9(tmp_path: Path) -> None:
    """Strikes before and after ``kill -9`` add up; the next server still refuses that model alone, until it is freed for good."""

    def strike(client: Client) -> None:
        with pytest.raises(WorkerTimedOut, match="CPU time"):
            client.predict(loop, models.rounds(models.ENDLESS))

    with server_process(tmp_path, *SETTINGS) as (server, address), Client(address) as client:
        loop, other = client.upload(models.loop()), client.upload(models.cnn())
        strike(client)
        server.kill()
    with server_process(tmp_path, *SETTINGS) as (server, address), Client(address) as client:
        strike(client)
        with pytest.raises(ModelQuarantined):
            client.predict(loop, models.rounds(3))
        server.kill()
    with server_process(tmp_path, *SETTINGS) as (server, address), Client(address) as client:
        with pytest.raises(ModelQuarantined, match="another 35"):
            client.predict(loop, models.rounds(3))
        assert client.predict(other, models.image())["y"].shape == (2, 3)
        assert client.upload(models.loop(), again=True) == loop
        assert client.predict(loop, models.rounds(3))["y"].shape == (1, 4)
        server.kill()
    with server_process(tmp_path, *SETTINGS) as (_, address), Client(address) as client:
        assert client.predict(loop, models.rounds(3))["y"].shape == (1, 4)
