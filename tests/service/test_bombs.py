"""Models that ask for much, uploaded to a running server: refused at once, in no memory, and nobody else waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from explainsvc.client import Client
from explainsvc.errors import ModelLimitExceeded
from tests.graph.bombs import BOMBS
from tests.service import models
from tests.service.processes import resident_bytes, workers

REFUSED_SECONDS, DELAYED_SECONDS, GROWN_BYTES = 2.0, 0.1, 50 * 2**20
"""The figures of the service."""
TRIES = 4
"""A machine that is busy with other things delays a call now and then; what a bomb does, it does every time."""


@contextmanager
def watched(work: Callable[[], object]) -> Iterator[dict[str, float]]:
    """While the block runs: the longest that ``work``, done over and over, takes, and how much all processes grow at most."""
    found, over = {"seconds": 0.0, "bytes": 0.0}, threading.Event()
    before = resident_bytes()

    def repeat() -> None:
        while not over.is_set():
            start = time.monotonic()
            work()
            found["seconds"] = max(found["seconds"], time.monotonic() - start)
            found["bytes"] = max(found["bytes"], resident_bytes() - before)

    with ThreadPoolExecutor() as threads:
        repeating = threads.submit(repeat)
        try:
            time.sleep(0.1)
            yield found
        finally:
            over.set()
            repeating.result()


def usual(client: Client, digest: str) -> Callable[[], object]:
    """A call that takes a few milliseconds."""
    inputs = models.image()
    client.predict(digest, inputs)
    return lambda: client.predict(digest, inputs)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_hurts_nobody(client: Client, digest: str, name: str) -> None:
    """A typed refusal within 2 s, no process grows by more than 50 MB, and no other caller waits 100 ms."""
    data = BOMBS[name]().SerializeToString()
    call = usual(client, digest)
    delays = []
    for _ in range(TRIES):
        with watched(call) as found:
            start = time.monotonic()
            with pytest.raises(ModelLimitExceeded):
                client.upload(data)
            refused = time.monotonic() - start
        assert found["bytes"] <= GROWN_BYTES
        delays.append(max(found["seconds"] - DELAYED_SECONDS, refused - REFUSED_SECONDS))
        if delays[-1] <= 0:
            break
    assert min(delays) <= 0


def test_hard_work_is_seen_by_the_same_measurement(client: Client, digest: str) -> None:
    """A model that fills 128 MB, and two that keep both workers busy, exceed both figures: the watch is not blind."""
    call, loop, filling = usual(client, digest), client.upload(models.loop()), client.upload(models.bomb())
    with watched(call) as found:
        client.predict(filling, {"n": np.array([2**25], np.int64)})
        time.sleep(0.1)
    assert found["bytes"] > GROWN_BYTES
    with watched(call) as found, ThreadPoolExecutor() as threads:
        list(threads.map(lambda _: client.predict(loop, models.rounds(1_000_000)), range(len(workers()))))
    assert found["seconds"] > DELAYED_SECONDS
