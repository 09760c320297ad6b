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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
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


def recoveries_without_fork_server(kills: int) -> list[float]:
    """The control: what workers are forked from is killed, and must start anew; the seconds until the next answer."""
    seconds = []
    with served(1, 0) as client:
        net = client.upload(models.cnn())
        for _ in range(kills):
            settled(1)
            (worker,) = workers()
            os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
            start = time.monotonic()
            wait_for(lambda worker=worker: worker not in workers())  # type: ignore[misc]  # called at once
            wait_for(lambda: ended(lambda: client.predict(net, models.image())) is None)  # the dying worker may get the first
            seconds.append(time.monotonic() - start)
    return seconds


def ended(call: Callable[[], object]) -> ExplainsvcError | None:
    """The error that a call ends in."""
    try:
        call()
    except ExplainsvcError as error:
        return error
    return None


def cancellations(number: int, leak: bool = False) -> tuple[list[float], bool]:
    """One worker: from each call given up to the next answer; and whether processes and descriptors are as before.

    A worker that does not stop in time is replaced, so workers are told apart by what they have open and not by their ids.
    ``leak``: one descriptor stays open on purpose.
    """
    delays, seconds = np.random.default_rng(0).uniform(0.001, 0.15, number), []
    with served(1, 0) as client:
        loop = client.upload(models.loop())
        client.predict(loop, models.rounds(1))
        before, pids = descriptors(), workers().keys()
        for delay in delays:
            call = partial(client.predict, loop, models.rounds(models.ENDLESS), timeout=float(delay))
            assert isinstance(ended(call), WorkerTimedOut)
            start = time.monotonic()
            client.predict(loop, models.rounds(1))
            seconds.append(time.monotonic() - start)
        kept = [os.open(os.devnull, os.O_RDONLY)] if leak else []
        clean = became(lambda: descriptors() == before)
        print(f"descriptors: {before}, afterwards {descriptors()}; workers replaced: {len(workers().keys() - pids)}")
        for descriptor in kept:
            os.close(descriptor)
        return seconds, clean


def became(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it is so, or soon will be: a process that has died closes its files a moment later."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def descriptors() -> list[str]:
    """What is open in the server, which is this process, and in each worker: how many of which kind."""
    kinds = (sorted(opened(pid).items()) for pid in (os.getpid(), *sorted(workers())))
    return [", ".join(f"{kind} {count}" for kind, count in one) for one in kinds]


def opened(pid: int) -> Counter[str]:
    """Kind of a descriptor → how many."""
    found: Counter[str] = Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found[os.readlink(link).partition(":")[0]] += 1
    return found


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
    killed, slow = recoveries(options.kills, spares=1), recoveries_without_fork_server(2)
    freed, clean = cancellations(options.cancels)
    control, leaked = not_cancelled(), not cancellations(5, leak=True)[1]
    print(told("recovery after a kill", killed))
    print(told("  control: the fork server killed", slow))
    print(told("free after a cancellation", freed))
    print(f"  processes and descriptors as before: {clean}")
    print(f"  control: a descriptor left open is seen: {leaked}")
    print(f"  control: without it, nothing in {SECONDS:g} s: {control}")
    return int(not (max(killed) <= SECONDS < min(slow) and max(freed) <= SECONDS and clean and control and leaked))


if __name__ == "__main__":
    sys.exit(main())
