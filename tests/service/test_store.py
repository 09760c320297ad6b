"""The store: content-addressed, owned, atomic, migrated, one server at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import fsspec
import pytest

from explainsvc import store
from explainsvc.errors import AuditNotFound, ExplainsvcError, ModelNotFound, RequestIdReused, StoreCorrupt, StoreFull
from explainsvc.store import MIGRATIONS, MODEL_FILE, SERVER, Retention, Store, StoredAudit, Viewer, Wanted, opened
from explainsvc.store.database import FILE, migrate
from tests.house.repository import ROOT
from tests.service.stores import listed, put, torn
from tests.service.writer import REPORT, digest

DATA = b"model"
DIGEST = hashlib.sha256(DATA).hexdigest()
AUDIT = StoredAudit("cd" * 16, store.RUNNING, DIGEST, 1.0)
ANN, BEN = Viewer("ann"), Viewer("ben")


def running(kept: Store, audit: StoredAudit = AUDIT) -> StoredAudit:
    """An audit that was accepted."""
    kept.audits.accept(audit, b"asked")
    return audit


@pytest.mark.parametrize("objects", ["", "memory://bucket/there"])
def test_a_model_comes_back(tmp_path: Path, objects: str) -> None:
    """What was kept is there in the next life of the server, whole, in a folder or an object store; nothing is left over."""
    with opened(tmp_path, objects) as kept:
        put(kept, DATA)
        model = kept.models.model(DIGEST, SERVER)
    with opened(tmp_path, objects) as kept:
        assert kept.models.model(DIGEST, SERVER) == model
        assert (kept.models.folder(DIGEST, SERVER) / MODEL_FILE).read_bytes() == DATA
        assert list(tmp_path.glob("**/incoming/*")) == []
        kept.models.delete(DIGEST, SERVER)
        with pytest.raises(ModelNotFound):
            kept.models.folder(DIGEST, SERVER)
        assert kept.models.objects.digests() == set()
        assert list(tmp_path.glob("**/models/*")) == []


def test_the_first_claim_stays(tmp_path: Path) -> None:
    """Uploading a model again changes nothing of one's own claim."""
    with opened(tmp_path) as kept:
        put(kept, DATA, name="first")
        put(kept, DATA, name="second", created=2.0)
        assert kept.models.model(DIGEST, SERVER).name == "first"


def test_a_profile_is_its_owner_s(tmp_path: Path) -> None:
    """How pictures become inputs is kept with one owner's claim, over a restart; nobody else can tell, or change it."""
    with opened(tmp_path) as kept:
        put(kept, DATA, "ann")
        put(kept, DATA, "ben")
        kept.seen_by(ANN).set_preprocessing(DIGEST, b"so")
        with pytest.raises(ModelNotFound):
            kept.seen_by(Viewer("eve")).set_preprocessing(DIGEST, b"otherwise")
    with opened(tmp_path) as kept:
        found = [kept.models.model(DIGEST, viewer).preprocessing for viewer in (ANN, BEN)]
        assert found == [b"so", b""]
        kept.seen_by(SERVER).set_preprocessing(DIGEST, b"")
        assert kept.models.model(DIGEST, ANN).preprocessing == b""


def test_bytes_have_owners(tmp_path: Path) -> None:
    """Each owner sees what they have uploaded and nothing of the others; the bytes go with the last of them."""
    with opened(tmp_path) as kept:
        put(kept, DATA, "ann", "Ann's")
        with pytest.raises(ModelNotFound) as foreign:
            kept.models.model(DIGEST, BEN)
        kept.models.delete(DIGEST, ANN)
        with pytest.raises(ModelNotFound) as missing:
            kept.models.model(DIGEST, BEN)
        assert str(foreign.value) == str(missing.value)
        put(kept, DATA, "ann", "Ann's")
        put(kept, DATA, "ben", "Ben's")
        assert [kept.models.model(DIGEST, viewer).name for viewer in (ANN, BEN, SERVER)] == ["Ann's", "Ben's", "Ann's"]
        put(kept, b"another", "ben")
        assert (len(listed(kept, "ann")), len(listed(kept, "ben")), len(listed(kept))) == (1, 2, 2)
        kept.models.delete(DIGEST, ANN)
        with pytest.raises(ModelNotFound):
            kept.models.delete(DIGEST, ANN)
        assert (kept.models.folder(DIGEST, BEN) / MODEL_FILE).read_bytes() == DATA
        kept.models.delete(DIGEST, Viewer("root", everything=True))
        assert DIGEST not in kept.models.objects.digests()


def test_folders_are_remembered_until_something_is_deleted(tmp_path: Path) -> None:
    """Who has found a model finds it again at once; nobody after a deletion, nor who looked while it was deleted."""
    with opened(tmp_path) as kept:
        for owner in ("ann", "ben"):
            put(kept, DATA, owner=owner)
        models = kept.models
        assert models.known_folder(DIGEST, ANN) is None
        folder = models.folder(DIGEST, ANN)
        assert models.known_folder(DIGEST, ANN) == folder
        assert models.known_folder(DIGEST, BEN) is None  # has not looked yet
        models.folder(DIGEST, BEN)
        before = models.places.deletions
        models.delete(DIGEST, ANN)
        assert models.known_folder(DIGEST, ANN) is None
        assert models.known_folder(DIGEST, BEN) is None
        models.places.remember(DIGEST, ANN, folder, before)  # of a thread that had looked before
        assert models.known_folder(DIGEST, ANN) is None
        assert models.folder(DIGEST, BEN) == folder
        models.delete(DIGEST, BEN)
        assert models.known_folder(DIGEST, BEN) is None


def test_copies_of_an_object_store_are_looked_for(tmp_path: Path) -> None:
    """They may go at any time, and every use of one counts."""
    with opened(tmp_path, "memory://bucket/looked") as kept:
        put(kept, DATA)
        kept.models.folder(DIGEST, SERVER)
        assert kept.models.known_folder(DIGEST, SERVER) is None


def test_audits_have_owners(tmp_path: Path) -> None:
    """An audit of another owner is not found, in the words for one that does not exist."""
    with opened(tmp_path) as kept:
        put(kept, DATA, "ann")
        running(kept, dataclasses.replace(AUDIT, owner="ann"))
        for see in (kept.seen_by(BEN).audit, kept.seen_by(BEN).report, kept.seen_by(BEN).delete_audit):
            with pytest.raises(AuditNotFound, match=f"no audit has the id '{AUDIT.audit_id}'"):
                see(AUDIT.audit_id)
        assert kept.seen_by(BEN).audits() == []
        assert kept.seen_by(ANN).audits() == kept.seen_by(SERVER).audits() == [dataclasses.replace(AUDIT, owner="ann")]


@pytest.mark.parametrize("name", ["", "..", "../models", "AB" * 32, "ab" * 31, "ab/" * 20])
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    """Only digests and ids that were stored lead anywhere."""
    with opened(tmp_path) as kept:
        with pytest.raises(ModelNotFound):
            kept.models.folder(name, SERVER)
        with pytest.raises(AuditNotFound):
            kept.audits.audit(name, SERVER)


def test_one_server_at_a_time(tmp_path: Path) -> None:
    """A store in use is refused, and free again afterwards; objects of another store are refused too."""
    with opened(tmp_path), pytest.raises(ExplainsvcError, match="another server"), opened(tmp_path):
        pass
    with opened(tmp_path, "memory://bucket/mine"):
        pass
    with pytest.raises(ExplainsvcError, match="belong to another store"), opened(tmp_path / "b", "memory://bucket/mine"):
        pass
    with pytest.raises(ExplainsvcError, match="cannot be used"), opened(tmp_path / "c", "zebra://bucket"):
        pass


@pytest.mark.parametrize("objects", ["", "memory://bucket/rotten"])
def test_rotten_bytes_are_noticed(tmp_path: Path, objects: str) -> None:
    """Bytes that changed, here or in an object store, are refused, never used, and repaired by the next upload."""
    with opened(tmp_path, objects) as kept:
        put(kept, DATA)
        where = tmp_path / "models" / DIGEST / "files" / MODEL_FILE
        if objects:
            fsspec.filesystem("memory").pipe_file(f"/bucket/rotten/models/{DIGEST}/files/{MODEL_FILE}", b"mOdel")
        else:
            where.write_bytes(b"mOdel")
    with opened(tmp_path, objects) as kept:
        with pytest.raises(StoreCorrupt):
            kept.models.folder(DIGEST, SERVER)
        put(kept, DATA)
        assert torn(kept) == []


def test_copies_are_bounded(tmp_path: Path) -> None:
    """Local copies of a store elsewhere take no more bytes than they may; the least recently used go, and come again."""
    with opened(tmp_path, "memory://bucket/copies", Retention(cache_bytes=250)) as kept:
        digests = [put(kept, bytes([number]) * 100) for number in range(3)]
        for digest in (digests[0], digests[1], digests[0], digests[2], digests[1]):
            (kept.models.folder(digest, SERVER) / MODEL_FILE).read_bytes()
            time.sleep(0.02)
        copies = {path.name for path in (tmp_path / "cache" / "models").iterdir()}
        assert copies == {digests[2], digests[1]}
        assert torn(kept) == []


def test_the_least_recently_used_models_go(tmp_path: Path) -> None:
    """Over the limit a model goes that was not used for longest, but none of an audit that runs; what cannot fit is refused."""
    with opened(tmp_path, retention=Retention(model_bytes=300)) as kept:
        old, busy, used = (put(kept, bytes([number]) * 100, created=float(number)) for number in range(3))
        running(kept, dataclasses.replace(AUDIT, model_digest=busy))
        for digest in (busy, old, used):
            kept.models.used[digest] = time.time()
        newest = put(kept, b"n" * 200, created=4.0)
        assert set(listed(kept)) == {busy, newest}
        with pytest.raises(StoreFull):
            put(kept, b"o" * 201)
        assert set(listed(kept)) == {busy, newest}
    with opened(tmp_path, retention=Retention(model_bytes=100)) as kept:
        assert set(listed(kept)) == {busy}


def test_old_things_go(tmp_path: Path) -> None:
    """Ended audits, unfinished uploads and answers go when they are old enough, with their files."""
    with opened(tmp_path, retention=Retention(audit_seconds=1, retry_seconds=1)) as kept:
        put(kept, DATA, request_id="a", body="x")
        running(kept)
        kept.audits.save(StoredAudit("ef" * 16, store.SUCCEEDED, DIGEST, 1.0, time.time() - 2), b"{}")
        partial = kept.partials.begin("", "u", "body", 10)
        again = store.Asked("", "UploadModel", "a", "x")
        kept.sweep()
        assert kept.answered(again) == DIGEST.encode()
        kept.database.change("UPDATE uploads SET touched = touched - 2")
        kept.database.change("UPDATE requests SET created = created - 2")
        kept.sweep(frozenset({partial.folder.name}))
        assert partial.folder.is_dir()
        assert kept.answered(again) is None
        kept.sweep()
        assert not partial.folder.is_dir()
        assert [audit.audit_id for audit in kept.audits.listed(SERVER)] == [AUDIT.audit_id]
        assert [path.name for path in (tmp_path / "audits").iterdir()] == [f"{AUDIT.audit_id}.request"]


def test_unfinished_uploads_are_bounded(tmp_path: Path) -> None:
    """An owner has so many and so large uploads under way, others theirs; one that ended makes room."""
    with opened(tmp_path, retention=Retention(uploads=2, upload_bytes=100)) as kept:
        first = kept.partials.begin("ann", "1", "body", 60)
        with pytest.raises(StoreFull, match="120 bytes"):
            kept.partials.begin("ann", "2", "body", 60)
        kept.partials.begin("ann", "2", "body", 40)
        with pytest.raises(StoreFull, match="2 uploads"):
            kept.partials.begin("ann", "", "body", 0)
        kept.partials.begin("ben", "1", "body", 100)
        assert kept.partials.begin("ann", "1", "body", 60).folder == first.folder
        with pytest.raises(RequestIdReused):
            kept.partials.begin("ann", "1", "another", 60)
        kept.partials.drop(first)
        kept.partials.begin("ann", "3", "body", 60)


def test_an_audit_cut_off_is_aborted(tmp_path: Path) -> None:
    """An audit of which nobody knows what was asked says so after a start; a finished one keeps its report."""
    with opened(tmp_path) as kept:
        kept.audits.save(AUDIT)
        kept.audits.save(StoredAudit("ef" * 16, store.SUCCEEDED, DIGEST, 1.0, 2.0), b'{"rows": []}')
    with opened(tmp_path) as kept:
        aborted = kept.audits.audit(AUDIT.audit_id, SERVER)
        assert (aborted.state, aborted.error) == (store.ABORTED, store.STOPPED)
        assert json.loads(kept.audits.report("ef" * 16, SERVER)) == {"rows": []}
        with pytest.raises(AuditNotFound, match="aborted"):
            kept.audits.report(AUDIT.audit_id, SERVER)


def test_a_store_of_files_is_taken_over(tmp_path: Path) -> None:
    """The JSON files of version 0.1 come into the database without loss: models, audits that ended and that run."""
    folder = tmp_path / "models" / DIGEST
    (folder / "files").mkdir(parents=True)
    (folder / "files" / MODEL_FILE).write_bytes(DATA)
    (folder / "files" / "w.bin").write_bytes(b"weights")
    old = {"digest": DIGEST, "name": "old", "size_bytes": 12, "created": 5.5, "external_data": ["w.bin"]}
    (folder / "model.json").write_text(json.dumps(old))
    audits = tmp_path / "audits"
    audits.mkdir()
    failed = {"state": "failed", "ended": 3.0, "error": {"reason": "QUEUE_FULL", "what": "é"}, "attempts": 2, "parts": 7}
    for audit_id, fields in (("1" * 32, {}), ("2" * 32, {"state": "succeeded", "ended": 2.0}), ("3" * 32, failed)):
        told = {"audit_id": audit_id, "state": "running", "model_digest": DIGEST, "created": 1.25, "ended": None, "error": None}
        (audits / f"{audit_id}.json").write_text(json.dumps(told | {"attempts": 0, "parts": 0} | fields))
    (audits / f"{'1' * 32}.request").write_bytes(b"asked")
    (audits / f"{'1' * 32}.journal").write_bytes(b"finished")
    (audits / f"{'2' * 32}.report.json").write_bytes(b"{}")
    for _ in range(2):
        with opened(tmp_path) as kept:
            assert dataclasses.asdict(kept.models.model(DIGEST, Viewer())) == old | {
                "external_data": ("w.bin",),
                "preprocessing": b"",
            }
            assert sorted(path.name for path in kept.models.folder(DIGEST, SERVER).iterdir()) == [MODEL_FILE, "w.bin"]
            third, second, first = kept.audits.listed(SERVER)
            assert (first.state, first.created, kept.audits.request("1" * 32)) == ("running", 1.25, b"asked")
            assert kept.audits.journal("1" * 32).read_bytes() == b"finished"
            assert kept.audits.report(second.audit_id, SERVER) == b"{}"
            assert (
                dataclasses.asdict(third) == {"audit_id": "3" * 32, "model_digest": DIGEST, "created": 1.25, "owner": ""} | failed
            )
    assert list(tmp_path.glob("models/*/*.json")) == []


ROWS: dict[int, list[tuple[str, tuple[str, ...]]]] = {
    1: [
        ("INSERT INTO models VALUES (?, 5, ?, 2.0)", (DIGEST, json.dumps([[MODEL_FILE, 5, DIGEST]]))),
        (
            "INSERT INTO claims (owner, digest, name, size_bytes, created, external_data) VALUES ('ann', ?, 'm', 5, 2.0, '[]')",
            (DIGEST,),
        ),
        ("INSERT INTO audits VALUES ('1', 'ann', 'failed', ?, 1.0, 2.0, NULL, 1, 2)", (DIGEST,)),
    ],
    2: [
        ("INSERT INTO uploads VALUES ('ann', 'u', 'f', 'b', 10, 4e9)", ()),
        ("INSERT INTO requests VALUES ('ann', 'rpc', 'r', 'b', x'61', 4e9)", ()),
    ],
}
"""What a database of each version held, by the version that brought its tables."""


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_every_layout_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """A database of each earlier version has the newest layout after a start, and all that it held."""
    (tmp_path / "models" / DIGEST / "files").mkdir(parents=True)
    connection = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    migrate(connection, tmp_path, MIGRATIONS[:version])
    for _, statements in (item for item in ROWS.items() if item[0] <= version):
        for statement, values in statements:
            connection.execute(statement, values)
    connection.close()
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    with opened(tmp_path / "new") as fresh, opened(tmp_path) as kept:
        assert [tuple(row) for row in kept.database.rows(schema)] == [tuple(row) for row in fresh.database.rows(schema)]
        assert len(kept.seen_by(ANN).models(Wanted(), None, 9)) == len(kept.audits.listed(ANN)) == (version >= 1)
        assert (kept.answered(store.Asked("ann", "rpc", "r", "b")) == b"a") == (version >= 2)
        assert len(kept.database.rows("SELECT * FROM uploads")) == (version >= 2)


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    """A store that a newer version has written is left alone, and so is a file that is no database."""
    with opened(tmp_path) as kept:
        kept.database.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(ExplainsvcError, match="newer version"), opened(tmp_path):
        pass
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / FILE).write_bytes(b"zebra" * 1000)
    with pytest.raises(ExplainsvcError, match="is no database"), opened(tmp_path / "b"):
        pass


@pytest.fixture(scope="module")
def writers() -> Iterator[subprocess.Popen[str]]:
    """What starts writers; see its module."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tests.service.writer"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment, cwd=ROOT) as process:
        yield process
        process.kill()


def killed(writers: subprocess.Popen[str], root: Path, how: str, seconds: float) -> int:
    """The number that a writer had promised when it was killed, so long after its first one; -1 for none."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{root} {how}\n")
    writers.stdin.flush()
    child = int(writers.stdout.readline())
    if how == "careful":
        writers.stdout.readline()
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return max(map(int, iter(writers.stdout.readline, "dead\n")), default=-1)


@pytest.mark.parametrize("milliseconds", [20, 50, 90, 140])
def test_kill_leaves_nothing_torn(tmp_path: Path, writers: subprocess.Popen[str], milliseconds: int) -> None:
    """Killed at any moment while it writes and deletes, a server leaves whole models and audits only, and all it promised."""
    promised = max(killed(writers, tmp_path, "careful", milliseconds / 1000), 0)
    with opened(tmp_path) as kept:
        assert torn(kept) == []
        expected = {digest(number): number % 3 != 2 for number in range(promised + 1)}
        there = set(listed(kept))
        assert {one for one, stays in expected.items() if stays} <= there
        assert len(there - expected.keys()) <= 1
        assert not [one for one, stays in expected.items() if not stays and one in there]
        assert kept.models.objects.digests() == there
        for number in range(promised + 1):
            assert kept.audits.report(f"{number:032x}", SERVER) == REPORT


def test_a_careless_store_would_be_caught(tmp_path: Path, writers: subprocess.Popen[str]) -> None:
    """The negative control: where bytes are written in place and told of before, the same check finds torn models."""
    found = list[str]()
    for attempt in range(20):
        killed(writers, tmp_path / str(attempt), "careless", 0.1 + 0.003 * attempt)
        with opened(tmp_path / str(attempt)) as kept:
            found += torn(kept)
    assert found
