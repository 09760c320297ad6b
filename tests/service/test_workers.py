"""Workers that die, take too long, or run out of memory are one caller's trouble."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explainsvc import errors
from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError
from explainsvc.service.config import Config
from explainsvc.service.server import background
from tests.service import models
from tests.service.processes import busy_worker, workers


def failure(client: Client, digest: str, rounds: int, timeout: float | None = None) -> ExplainsvcError:
    """The error that a prediction ends in."""
    with pytest.raises(ExplainsvcError) as error:
        client.predict(digest, models.rounds(rounds), timeout=timeout)
    return error.value


def test_a_killed_worker_is_one_callers_error(client: Client) -> None:
    """After ``kill -9`` that caller gets WORKER_CRASHED, another is answered meanwhile, and the next call works."""
    digest = client.upload(models.loop())
    before = workers().keys()
    with ThreadPoolExecutor() as threads:
        doomed = threads.submit(failure, client, digest, models.ENDLESS)
        victim = busy_worker()
        other = threads.submit(client.predict, digest, models.rounds(3_000_000))
        time.sleep(0.1)
        os.kill(victim, signal.SIGKILL)
        assert isinstance(doomed.result(timeout=20), errors.WorkerCrashed)
        expected = client.predict(digest, models.rounds(3_000_000))["y"]
        np.testing.assert_array_equal(other.result(timeout=60)["y"], expected)
    wait_for(lambda: len(workers()) == len(before))
    assert victim not in workers()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_idle_worker_that_dies_is_nobodys_error(client: Client, digest: str) -> None:
    """Workers killed while they wait are replaced; no call fails."""
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    for _ in range(3):
        assert client.predict(digest, models.image())["y"].shape == (2, 3)


def test_a_deadline_frees_the_worker(client: Client) -> None:
    """When the caller's time is over, its worker does not compute on."""
    digest = client.upload(models.loop())
    error = failure(client, digest, models.ENDLESS, timeout=1.0)
    assert isinstance(error, errors.WorkerTimedOut)
    for _ in range(3):  # more calls than workers: none is stuck
        assert client.predict(digest, models.rounds(1))["y"].shape == (1, 4)


def test_a_full_queue_and_the_servers_own_limit(serve: Callable[..., Client]) -> None:
    """One call too many gets QUEUE_FULL with RetryInfo at once; a call that takes too long gets WORKER_TIMED_OUT."""
    client = serve(workers=1, queue=1, job_seconds=8.0)
    digest = client.upload(models.loop())
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(failure, client, digest, models.ENDLESS)
        busy_worker()
        waiting = threads.submit(client.predict, digest, models.rounds(1))
        time.sleep(0.3)
        assert isinstance(failure(client, digest, 1), errors.QueueFull)
        assert isinstance(slow.result(timeout=20), errors.WorkerTimedOut)
        assert waiting.result(timeout=20)["y"].shape == (1, 4)


def test_memory_is_limited(serve: Callable[..., Client]) -> None:
    """A model that fills the memory ends in an error of its caller, and the worker's limit is what stops it."""
    client = serve(workers=1, worker_memory_bytes=4 * 2**30)
    digest = client.upload(models.bomb())
    with pytest.raises(errors.WorkerOutOfMemory):
        client.predict(digest, {"n": np.array([2**31], np.int64)})
    np.testing.assert_array_equal(client.predict(digest, {"n": np.array([8], np.int64)})["y"], [0])


def test_nothing_of_a_refused_upload_stays(serve: Callable[..., Client], tmp_path: Path) -> None:
    """The store is as empty after a refused and an abandoned upload as before."""
    client = serve(workers=1)
    with pytest.raises(errors.ModelMalformed):
        client.upload(b"zebra" * 100)
    left = {path.name for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert left == {"lock", "store.sqlite3", "store.sqlite3-shm", "store.sqlite3-wal"}


def test_nothing_outlives_the_server(tmp_path: Path) -> None:
    """A stopped server leaves no process and no lock; a second one on its port or its store is refused."""
    before = workers().keys()
    config = Config(address="127.0.0.1:0", store=tmp_path / "store", workers=1, spare_workers=0)
    with background(config) as address:
        assert len(workers()) == len(before) + 1
        for twin in (replace(config, store=tmp_path / "other", address=address), config):
            with pytest.raises(ExplainsvcError, match=r"cannot listen|another server"), background(twin):
                pass
    assert workers().keys() == before
    with background(config) as address, Client(address) as client:
        assert client.list_models() == []
