"""A pool of one worker and a spare, without a server: cancelled, batched, in turns, killed and refused."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import explainsvc
from explainpb.v1.explanation_service_pb2 import ExplainRequest, PredictRequest
from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc import jobs
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.results import from_attribution
from explainsvc.codec.tensors import to_named
from explainsvc.errors import InvalidInput, ModelQuarantined, WorkerCrashed, WorkerTimedOut
from explainsvc.jobs import Limits, Pool
from explainsvc.model import Model
from explainsvc.store import MODEL_FILE
from explainsvc.together import TOLERANCE
from explainsvc.windows import WINDOW_BYTES
from tests.service import models
from tests.service.processes import runs, wait_for

T = TypeVar("T")
SECRET = "of the server alone"  # noqa: S105  # it is none
SLOW = 150_000
"""Rounds of the loop that take a few tenths of a second on a slow machine."""


@dataclass
class Heard:
    """What the pool tells."""

    seconds: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def waited(self, seconds: float) -> None:
        """See Listener."""
        self.seconds.append(seconds)

    def batched(self, requests: int) -> None:
        """See Listener."""
        self.batches.append(requests)

    def restarted(self, reason: str) -> None:
        """See Listener."""
        self.reasons[reason] += 1


@dataclass(frozen=True)
class Bench:
    """A pool, its loop, and the folders of three models."""

    runner: asyncio.Runner
    pool: Pool
    heard: Heard
    folders: dict[str, str]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of some work, in the loop of the pool."""
        return self.runner.run(work)

    async def predict(self, rounds: int, model: str = "loop") -> Reply:
        """So many rounds of the loop."""
        inputs = to_named(models.rounds(rounds), "inputs")
        return await self.pool.result(Job(model_folder=self.folders[model], predict=PredictRequest(inputs=inputs)))

    async def explain(self, inputs: dict[str, Any]) -> Reply:
        """The gradient of the net's second output."""
        fields = to_fields("0" * 64, Question("gradient", 1))
        return await self.pool.result(
            Job(model_folder=self.folders["cnn"], explain=ExplainRequest(inputs=to_named(inputs, "inputs"), **fields))
        )

    async def begun(self) -> None:
        """Until the worker is at work."""
        while self.pool.idle:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)

    async def spare(self) -> None:
        """Until there is a spare worker."""
        while not self.pool.spares:
            await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of the worker that computes."""
        (worker,) = self.pool.active
        return worker.pid


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One worker, one spare, two strikes."""
    folders = {}
    for name, data in {"loop": models.loop(), "other": models.loop(), "third": models.loop(), "cnn": models.cnn()}.items():
        folder = tmp_path_factory.mktemp(name) / "files"
        folder.mkdir()
        (folder / MODEL_FILE).write_bytes(data)
        folders[name] = str(folder)
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        context = jobs.running(Limits(workers=1, spares=1, queue=40, threads=1, strikes=2, memory_bytes=0))
        pool, heard = runner.run(context.__aenter__()), Heard()
        pool.listener = heard
        yield Bench(runner, pool, heard, folders)
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def cnn() -> Model:
    """The net, here."""
    return explainsvc.load(models.cnn())


@contextmanager
def limited(bench: Bench, **limits: float) -> Iterator[None]:
    """Other limits for a while."""
    before = bench.pool.limits
    bench.pool.limits = replace(before, **limits)
    try:
        yield
    finally:
        bench.pool.limits = before


async def cancelled(bench: Bench, seconds: float, model: str = "loop") -> float:
    """How long it takes from the cancellation of an endless job until another is answered."""
    endless = asyncio.ensure_future(bench.predict(models.ENDLESS, model))
    await asyncio.sleep(seconds)
    endless.cancel()
    start = time.monotonic()
    with suppress(asyncio.CancelledError):
        await endless
    await bench.predict(1, model)
    return time.monotonic() - start


def test_a_cancelled_job_frees_its_worker_which_stays_warm(bench: Bench) -> None:
    """At random moments of a job: within a second another one is answered, by the same process, and no descriptor is lost."""

    async def run() -> tuple[list[float], list[int]]:
        await bench.predict(1)
        descriptors = [len(os.listdir("/proc/self/fd"))]
        delays = np.random.default_rng(0)
        freed = [await cancelled(bench, delays.uniform(0.0, 0.1)) for _ in range(25)]
        return freed, [*descriptors, len(os.listdir("/proc/self/fd"))]

    before = bench.pid
    freed, descriptors = bench.run(run())
    assert max(freed) <= 1.0
    assert descriptors[0] == descriptors[1]
    assert (bench.pid, bench.heard.reasons) == (before, Counter())


def test_a_job_that_nobody_cancels_holds_its_worker(bench: Bench) -> None:
    """The measurement above sees a worker that is not free: without the cancellation nothing is answered in that second."""

    async def run() -> None:
        endless = asyncio.ensure_future(bench.predict(models.ENDLESS))
        await bench.begun()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.predict(1), 1.0)
        endless.cancel()
        await asyncio.wait([endless])

    bench.run(run())


def test_requests_that_wait_are_computed_together(bench: Bench, cnn: Model) -> None:
    """Behind a slow job six requests make one batch; each gets what it gets alone, and one with NaN its own error."""
    inputs = [models.image(2) | {"x": models.image(2)["x"] * (number + 1)} for number in range(6)]
    inputs.append({"x": np.full((2, 1, 6, 6), np.nan, np.float32)})

    async def run(asked: list[dict[str, Any]]) -> list[Reply | BaseException]:
        slow = asyncio.ensure_future(bench.predict(SLOW))
        await bench.begun()
        replies = await asyncio.gather(*map(bench.explain, asked), return_exceptions=True)
        await slow
        return replies

    for asked in (inputs[:6], inputs[:6], inputs):  # held against single ones, together, and one by one because one is wrong
        replies = bench.run(run(asked))
        assert bench.heard.batches.pop() == len(asked)
        for given, reply in zip(inputs[:6], replies, strict=False):
            assert isinstance(reply, Reply)
            own = cnn.explain(given, "gradient", 1).values["x"]
            np.testing.assert_allclose(
                from_attribution(reply.explained.attribution).values["x"], own, rtol=0, atol=TOLERANCE * np.abs(own).max()
            )
    assert isinstance(replies[6], InvalidInput)


def test_one_that_finds_an_idle_worker_is_alone(bench: Bench) -> None:
    """Nobody waits for company while a worker is free."""
    bench.heard.batches.clear()
    bench.heard.seconds.clear()
    bench.run(bench.explain(models.image(2)))
    assert bench.heard.batches == [1]
    assert max(bench.heard.seconds) < 0.01


def test_a_caller_that_leaves_a_batch_leaves_the_others(bench: Bench) -> None:
    """One of three goes away while they wait, and another while they are computed or before; the last is answered."""

    async def run() -> Reply:
        slow = asyncio.ensure_future(bench.predict(SLOW))
        await bench.begun()
        batch = [asyncio.ensure_future(bench.explain(models.image(2))) for _ in range(3)]
        await asyncio.sleep(0.02)
        batch[0].cancel()
        await slow
        batch[1].cancel()
        return await batch[2]

    bench.heard.batches.clear()
    assert bench.run(run()).HasField("explained")
    assert bench.heard.batches == [2]


def test_a_busy_model_does_not_starve_another(bench: Bench) -> None:
    """One request of another model is answered after at most two of twenty that came before it."""

    async def run() -> list[str]:
        order: list[str] = []

        async def one(model: str) -> None:
            await bench.predict(SLOW // 5, model)
            order.append(model)

        busy = [asyncio.ensure_future(one("loop")) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.gather(*busy, one("other"))
        return order

    assert bench.run(run()).index("other") <= 2


def test_a_model_that_kills_workers_is_refused_and_no_other(bench: Bench) -> None:
    """A spare takes over within a second; after two deaths of one model it is refused until it is released."""

    async def killed() -> float:
        await bench.spare()
        doomed = asyncio.ensure_future(bench.predict(models.ENDLESS, "third"))
        await bench.begun()
        os.kill(bench.pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(WorkerCrashed, match="SIGKILL"):
            await doomed
        await bench.predict(1, "loop")
        return time.monotonic() - start

    assert min([bench.run(killed()) for _ in range(2)]) <= 1.0  # a start alone takes longer; a busy machine delays one of them
    with pytest.raises(ModelQuarantined):
        bench.run(bench.predict(1, "third"))
    assert bench.run(bench.predict(1, "loop")).HasField("outputs")
    assert bench.heard.reasons == {"crash": 2} == bench.pool.stats().restarts
    (model,) = bench.pool.stats().quarantined
    bench.pool.quarantine.release(model)
    assert bench.run(bench.predict(1, "third")).HasField("outputs")


def test_the_watchdog_ends_a_job_and_not_its_worker(bench: Bench) -> None:
    """A job that is over its time is stopped as a cancelled one is: its caller has an error, the worker goes on, no strike."""
    before = bench.pid
    with limited(bench, job_seconds=0.2), pytest.raises(WorkerTimedOut, match=r"0\.2 seconds"):
        bench.run(bench.predict(models.ENDLESS))
    assert bench.run(bench.predict(1)).HasField("outputs")
    assert (bench.pid, bench.pool.quarantine.struck) == (before, {})


def test_cpu_time_is_limited_by_the_system(bench: Bench) -> None:
    """A job that computes for more than a second of CPU time dies of it, which is an error of its caller and a strike."""
    bench.heard.reasons.clear()
    with limited(bench, cpu_seconds=1.0), pytest.raises(WorkerTimedOut, match="1 seconds of CPU time"):
        bench.run(bench.predict(models.ENDLESS, "other"))
    assert bench.run(bench.predict(1)).HasField("outputs")
    assert bench.heard.reasons == {"cpu": 1}
    assert len(bench.pool.quarantine.struck) == 1


def test_a_worker_that_keeps_too_much_memory_is_replaced(bench: Bench) -> None:
    """Its last job is answered, and the next one by another process."""
    bench.run(bench.spare())
    bench.heard.reasons.clear()
    before = bench.pid
    with limited(bench, rss_bytes=2**20):
        assert bench.run(bench.predict(1)).HasField("outputs")
    assert bench.run(bench.predict(1)).HasField("outputs")
    assert bench.pid != before
    assert bench.heard.reasons["rss"] >= 1


def test_credentials_of_the_server_are_not_handed_on(bench: Bench) -> None:
    """A worker's environment holds what it needs and nothing else."""
    given = Path(f"/proc/{bench.pid}/environ").read_bytes()
    assert b"ORT_DISABLE_TELEMETRY=1" in given
    assert SECRET.encode() not in given


def test_a_deleted_model_is_told_and_its_worker_lives(bench: Bench, tmp_path: Path) -> None:
    """A model that goes between the request and the worker's question for its files."""
    before = bench.pid
    job = Job(model_folder=str(tmp_path / "gone" / "files"), predict=PredictRequest())
    with pytest.raises(explainsvc.errors.ModelNotFound):
        bench.run(bench.pool.result(job))
    wait_for(lambda: bench.pid == before, 1.0)


def test_the_end_of_the_fork_server_is_survived(bench: Bench) -> None:
    """Its workers end with it; another is started, and the next job is answered by a worker of that one."""
    before, fork_server = bench.pid, bench.pool.forking.server
    assert fork_server is not None
    fork_server.process.kill()

    async def answered() -> Reply:
        while any(worker.pid == before for worker in bench.pool.active):
            await asyncio.sleep(0.01)
        return await bench.predict(1)

    assert bench.run(answered()).HasField("outputs")
    assert bench.pid != before
    wait_for(lambda: not runs(before))


def test_the_fork_server_has_one_thread_and_no_grpc(bench: Bench) -> None:
    """Nothing that a fork would lose runs in the fork server, and nothing that talks to the network is loaded there."""
    fork_server = bench.pool.forking.server
    assert fork_server is not None
    process = Path(f"/proc/{fork_server.process.pid}")
    assert "cygrpc" not in (process / "maps").read_text()
    assert len(list((process / "task").iterdir())) == 1


def test_a_job_that_a_dying_worker_has_not_read_goes_to_another(bench: Bench) -> None:
    """No error of its caller and no strike: the worker was dying when it was given the job."""

    async def run() -> Reply:
        await bench.spare()
        os.kill(bench.pid, signal.SIGSTOP)
        waiting = asyncio.ensure_future(bench.predict(1))
        await bench.begun()
        os.kill(bench.pid, signal.SIGKILL)
        return await waiting

    struck, before = dict(bench.pool.quarantine.struck), bench.heard.reasons["crash"]
    assert bench.run(run()).HasField("outputs")
    assert bench.pool.quarantine.struck == struck
    assert bench.heard.reasons["crash"] == before + 1


def test_a_job_that_was_given_up_while_it_was_sent_leaves_its_worker_well(bench: Bench) -> None:
    """One larger than window and pipe, of which the worker had read nothing: it reads the rest, and answers the next job."""
    inputs = {"x": np.zeros((WINDOW_BYTES // 100, 1, 6, 6), np.float32)}

    async def run() -> int:
        await bench.predict(1)
        pid = bench.pid
        os.kill(pid, signal.SIGSTOP)
        large = asyncio.ensure_future(bench.explain(inputs))
        await bench.begun()
        large.cancel()
        with suppress(asyncio.CancelledError):
            await large
        os.kill(pid, signal.SIGCONT)
        await bench.predict(1)
        return pid

    assert bench.run(run()) == bench.pid
