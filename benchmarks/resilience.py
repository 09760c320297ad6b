"""What the workers withstand: kills and cancellations by the hundred.

``python -m benchmarks.resilience [--kills N] [--cancels N]``. Each figure comes with its control: the same measurement where
it must be missed. Exit code 1 when a figure is missed, or a control is not.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError, WorkerCrashed, WorkerTimedOut
from explainsvc.service.config import Config
from explainsvc.service.server import background
from tests.service import models
from tests.service.processes import wait_for, workers

SECONDS = 1.0
"""Within which a killed worker is replaced, and a cancelled one free."""
BUSY = 0.05
"""CPU seconds after which a worker is at work."""


@contextmanager
def served(count: int, spares: int) -> Iterator[Client]:
    """A server that puts no model into quarantine."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(address="127.0.0.1:0", store=Path(folder), workers=count, spare_workers=spares, worker_threads=1,
                        quarantine_kills=10**6)  # fmt: skip
        with background(config) as address, Client(address) as client:
            yield client


def at_work(before: dict[int, float]) -> int:
    """The worker that has begun to compute since."""
    while True:
        for pid, used in workers().items():
            if pid in before and used - before[pid] > BUSY:
                return pid
        time.sleep(0.01)


def recoveries(kills: int, spares: int) -> list[float]:
    """Two workers, one of them held by a caller who must not notice: from each kill of the other to the next answer."""
    seconds = []
    with served(2, spares) as client, ThreadPoolExecutor() as threads:
        loop, net = client.upload(models.loop()), client.upload(models.cnn())
        settled(2 + spares)
        before = workers()
        held = threads.submit(ended, lambda: client.predict(loop, models.rounds(models.ENDLESS), timeout=10_000))
        holder = at_work(before)
        for number in range(kills):
            settled(2 + spares, holder)
            seconds.append(recovery(client, loop, net, holder, threads))
            print(f"\rkill {number + 1} of {kills}: {seconds[-1]:.3f} s", end="", flush=True)
            assert not held.done(), "the other caller has noticed"
        os.kill(holder, signal.SIGKILL)
        assert isinstance(held.result(), WorkerCrashed)
    print()
    return seconds


def settled(number: int, holder: int = 0) -> None:
    """Until so many workers have started and do nothing, the one that is held apart."""

    def idle() -> bool:
        before = workers()
        time.sleep(0.3)
        after = workers()
        still = [pid for pid, used in after.items() if pid == holder or used - before.get(pid, 0.0) < BUSY]
        return len(list(filter(confined, still))) == number

    wait_for(idle, 120.0)


def confined(pid: int) -> bool:
    """Whether a worker has imported everything, and is in its sandbox."""
    return "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()


def recovery(client: Client, loop: str, net: str, holder: int, threads: ThreadPoolExecutor) -> float:
    """Kills the worker of a job of its own."""
    before = {pid: used for pid, used in workers().items() if pid != holder}
    doomed: Future[ExplainsvcError | None] = threads.submit(ended, lambda: client.predict(loop, models.rounds(models.ENDLESS)))
    os.kill(at_work(before), signal.SIGKILL)
    start = time.monotonic()
    client.predict(net, models.image())
    seconds = time.monotonic() - start
    assert isinstance(doomed.result(), WorkerCrashed)
    return seconds


def ended(call: Callable[[], object]) -> ExplainsvcError | None:
    """The error that a call ends in."""
    try:
        call()
    except ExplainsvcError as error:
        return error
    return None


def cancellations(number: int) -> tuple[list[float], bool]:
    """One worker: from each call given up to the next answer; and whether processes and descriptors are as before."""
    delays, seconds = np.random.default_rng(0).uniform(0.001, 0.15, number), []
    with served(1, 0) as client:
        loop = client.upload(models.loop())
        client.predict(loop, models.rounds(1))
        before = descriptors()
        for delay in delays:
            call = partial(client.predict, loop, models.rounds(models.ENDLESS), timeout=float(delay))
            assert isinstance(ended(call), WorkerTimedOut)
            start = time.monotonic()
            client.predict(loop, models.rounds(1))
            seconds.append(time.monotonic() - start)
        time.sleep(1.0)
        after = descriptors()
        print(f"descriptors by process: {before}, afterwards {after}")
        return seconds, after == before


def descriptors() -> dict[int, int]:
    """How many each process has open: the server, which is this one, and the workers."""
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), *workers())}


def not_cancelled() -> bool:
    """The control of ``cancellations``: behind a call that goes on, another is not answered in time."""
    with served(1, 0) as client, ThreadPoolExecutor() as threads:
        loop = client.upload(models.loop())
        before = workers()
        held = threads.submit(ended, lambda: client.predict(loop, models.rounds(models.ENDLESS), timeout=SECONDS + 3))
        at_work(before)
        missed = ended(lambda: client.predict(loop, models.rounds(1), timeout=SECONDS))
        held.result()
        return isinstance(missed, WorkerTimedOut)


def told(what: str, seconds: Sequence[float]) -> str:
    """One line of the table."""
    return (f"{what:<34} {len(seconds):>5} times   median {statistics.median(seconds):.3f} s   "
            f"p99 {np.quantile(seconds, 0.99):.3f} s   longest {max(seconds):.3f} s")  # fmt: skip


def main() -> int:
    """Measures, prints, and says whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--cancels", type=int, default=1000)
    options = parser.parse_args()
    killed, slow = recoveries(options.kills, spares=1), recoveries(2, spares=0)
    freed, clean = cancellations(options.cancels)
    control = not_cancelled()
    print(told("recovery after a kill", killed))
    print(told("  control: without a spare", slow))
    print(told("free after a cancellation", freed))
    print(f"  processes and descriptors as before: {clean}")
    print(f"  control: without it, nothing in {SECONDS:g} s: {control}")
    return int(not (max(killed) <= SECONDS < min(slow) and max(freed) <= SECONDS and clean and control))


if __name__ == "__main__":
    sys.exit(main())
