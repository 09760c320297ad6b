"""Audits that outlive their worker and their server: the report is that of an audit that nothing happened to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explainpb.v1 import audit_service_pb2 as pb
from explainsvc import errors, journals, store
from explainsvc.checks.journal import Finished
from explainsvc.checks.pace import Standing
from explainsvc.checks.rows import Row
from explainsvc.client import Client
from explainsvc.codec.audits import AuditQuestion, to_audit_request
from explainsvc.journals import contents
from explainsvc.model import Model
from explainsvc.service.audit_runs import ATTEMPTS
from explainsvc.service.config import Config
from explainsvc.service.server import background
from explainsvc.store import Store, StoredAudit, opened
from tests.service import models
from tests.service.processes import server_process, wait_for, workers
from tests.service.stores import put

QUESTION: dict[str, Any] = {
    "methods": ["gradient", "integrated_gradients"],
    "checks": ["parameter_randomization", "max_sensitivity", "complexity"],
    "parameters": {"max_sensitivity": {"samples": 40}},
    "target": 1,
    "seed": 3,
}
INPUTS = models.image(48)
LONG = "max_sensitivity: integrated_gradients"
"""The part in whose middle things happen: it takes a second or so."""
PARTS = 3 * 5 + 1
"""Finished before it: of three steps the model's and four methods', and the gradient's sensitivity."""


@pytest.fixture(scope="module")
def undisturbed(cnn: Model) -> dict[str, Any]:
    """The library's report."""
    return cnn.audit(INPUTS, **QUESTION).to_json()


@pytest.fixture
def served(tmp_path: Path) -> Callable[..., Any]:
    """Servers of this process on one store, one after the other."""

    @contextmanager
    def serve(**settings: Any) -> Iterator[Client]:
        config = Config(address="127.0.0.1:0", store=tmp_path, workers=1, spare_workers=0, worker_threads=1, **settings)
        with background(config) as address, Client(address) as client:
            yield client

    return serve


def at_the_long_part(act: Callable[[], None]) -> Callable[[Standing], None]:
    """Hears how far an audit is, and acts once it is in the middle of a part."""
    acted: list[bool] = []

    def heard(standing: Standing) -> None:
        if standing.what == LONG and not acted:
            acted.append(True)
            act()

    return heard


def test_a_killed_worker_is_followed_by_another(served: Callable[..., Any], undisturbed: dict[str, Any]) -> None:
    """After ``kill -9`` of the worker the rows go on behind those that were there, each heard once."""
    rows: list[Row] = []
    others = workers().keys()
    killed: list[int] = []
    again: list[str] = []

    def kill() -> None:
        killed.extend(workers().keys() - others)
        os.kill(killed[0], signal.SIGKILL)

    kill_once = at_the_long_part(kill)

    def heard(standing: Standing) -> None:
        if killed:
            again.append(standing.what)
        kill_once(standing)

    with served() as client:
        digest = client.upload(models.cnn())
        report = client.audit(digest, INPUTS, on_standing=heard, on_row=rows.append, **QUESTION)
        assert killed[0] not in workers()
    assert report.to_json() == undisturbed
    assert [row.to_json() for row in rows] == undisturbed["rows"]
    assert LONG in again
    assert not [what for what in again if what.startswith("parameter_randomization")]


def test_a_killed_server_goes_on_when_it_starts_again(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    """After ``kill -9`` of the server, the next one on the store finishes the audit; the client waits for it."""
    rows: list[Row] = []
    with server_process(tmp_path) as (first, address), Client(address) as client:
        digest = client.upload(models.cnn())
        hearing = at_the_long_part(lambda: os.kill(first.pid, signal.SIGKILL))
        with ThreadPoolExecutor() as threads:
            audit = threads.submit(client.audit, digest, INPUTS, on_standing=hearing, on_row=rows.append, **QUESTION)
            first.wait(timeout=60)
            (journal,) = tmp_path.glob("audits/*.journal")
            assert len(contents(journal.read_bytes()).finished) == PARTS
            with server_process(tmp_path, address=address) as (_, same):
                assert same == address
                assert audit.result(timeout=120).to_json() == undisturbed
    assert [row.to_json() for row in rows] == undisturbed["rows"]
    assert [path.suffixes for path in tmp_path.glob("audits/*")] == [[".report", ".json"]]


def test_a_stopped_server_parks_its_audits(served: Callable[..., Any], undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """A server that stops in peace is no failed attempt; the audit goes on at the next start, from the same rows."""
    with served(grace_seconds=0.0) as client:
        audit_id = client.audits.start(client.upload(models.cnn()), INPUTS, **QUESTION)
        wait_for(lambda: client.audits.get(audit_id).progress.what == LONG)
    with opened(tmp_path) as kept:
        parked = kept.audits.audit(audit_id, store.SERVER)
        assert (parked.state, parked.attempts) == (store.RUNNING, 0)
        assert len(contents(kept.audits.journal(audit_id).read_bytes()).finished) == PARTS
    with served() as client:
        assert client.audits.watch(audit_id).to_json() == undisturbed


def test_an_audit_that_kills_its_workers_ends(served: Callable[..., Any], tmp_path: Path) -> None:
    """After as many deaths in the same part it fails, says so to everyone, and other work goes on."""
    others = workers().keys()
    with served() as client, ThreadPoolExecutor() as threads:
        digest = client.upload(models.loop())
        question: dict[str, Any] = {"methods": ["feature_ablation"], "checks": ["complexity"], "target": 1}
        start = max(used for pid, used in workers().items() if pid not in others)
        audit = threads.submit(client.audit, digest, models.rounds(models.ENDLESS), **question)
        while not audit.done():  # a worker that has used more than it starts in computes
            for pid in [pid for pid, used in workers().items() if used > 1.3 * start + 0.5 and pid not in others]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        with pytest.raises(errors.WorkerCrashed, match=f"untouched: y: .* died {ATTEMPTS} times in a row"):
            audit.result()
        (failed,) = client.audits.list()
        with pytest.raises(errors.WorkerCrashed):
            client.audits.watch(failed.audit_id)
        assert client.predict(digest, models.rounds(1))["y"].shape == (1, 4)
    assert list((tmp_path / "audits").iterdir()) == []


def left_behind(kept: Store, number: int, **fields: Any) -> StoredAudit:
    """A running audit as a dead server leaves it, of a model that is stored."""
    digest = put(kept, models.cnn())
    audit = StoredAudit(f"{number:032x}", store.RUNNING, digest, float(number))
    request = to_audit_request(digest, INPUTS, AuditQuestion(**QUESTION), keep_running=True)
    kept.audits.accept(replace(audit, **fields), request.SerializeToString())
    return audit


def test_what_cannot_go_on_says_why(served: Callable[..., Any], tmp_path: Path) -> None:
    """Attempts are counted across servers; rows of other versions are not mixed; a model may be gone."""
    with opened(tmp_path) as kept:
        tried = left_behind(kept, 1, attempts=ATTEMPTS)
        older = left_behind(kept, 2)
        gone = put(kept, models.linear())
        orphan = left_behind(kept, 3, model_digest=gone)
        kept.models.delete(gone, store.SERVER)
        with journals.kept(kept.audits.journal(older.audit_id)) as journal:
            journal.begin('{"versions": {"explainsvc": "0.0.1"}}')
            journal.record(Finished(("complexity", "gradient"), 1.0, ()))
    with served() as client:
        wait_for(lambda: all(audit.state != pb.AUDIT_STATE_RUNNING for audit in client.audits.list()))
        found = {audit.audit_id: audit for audit in client.audits.list()}
        assert [found[a.audit_id].error.reason for a in (tried, older, orphan)] == [
            "WORKER_CRASHED", "JOURNAL_MISMATCH", "MODEL_NOT_FOUND"
        ]  # fmt: skip
        states = [pb.AUDIT_STATE_FAILED, pb.AUDIT_STATE_ABORTED, pb.AUDIT_STATE_ABORTED]
        assert [found[a.audit_id].state for a in (tried, older, orphan)] == states
        with pytest.raises(errors.JournalMismatch, match="versions"):
            client.audits.watch(older.audit_id)
