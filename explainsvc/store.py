"""Models and audits in a folder: content-addressed, and never torn, whatever moment the process dies at.

::

    lock                            held by the one server that uses the store
    incoming/<random>/              uploads and files being written; emptied when a server starts
    models/<digest>/model.json      name, size, time
    models/<digest>/files/          model.onnx and its external data, as uploaded
    audits/<id>.json                state, times, error
    audits/<id>.request             what was asked, written before the state says that it runs; gone when it has ended
    audits/<id>.journal             what is finished of it; gone when it has ended
    audits/<id>.report.json         the report, written before the state says that there is one

Everything is written in ``incoming``, synced, and then renamed into place, which is atomic.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explainsvc.durable import sync_folder, write_synced
from explainsvc.errors import AuditNotFound, ExplainsvcError, ModelNotFound

MODEL_FILE = "model.onnx"
DIGEST = re.compile(r"[0-9a-f]{64}")
AUDIT_ID = re.compile(r"[0-9a-f]{32}")
STOPPED = {"reason": "INTERNAL", "what": "the server stopped while the audit ran", "to_do": "Create it again"}
RUNNING, SUCCEEDED, FAILED, CANCELLED, ABORTED = "running", "succeeded", "failed", "cancelled", "aborted"


@dataclass(frozen=True)
class StoredModel:
    """What the store knows of a model without looking into it; ``created`` in seconds since 1970."""

    digest: str
    name: str
    size_bytes: int
    created: float
    external_data: tuple[str, ...]


@dataclass(frozen=True)
class StoredAudit:
    """An audit's life; ``ended`` is None while it runs, ``error`` are the fields of the error that ended it.

    ``attempts`` have begun since a part of it was finished, when there were ``parts``.
    """

    audit_id: str
    state: str
    model_digest: str
    created: float
    ended: float | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    parts: int = 0


@dataclass(frozen=True)
class Store:
    """A folder of models and audits; made by ``opened``."""

    root: Path

    def folder(self, digest: str) -> Path:
        """The files of a model; ModelNotFound when there is no such model."""
        folder = self.root / "models" / digest
        if DIGEST.fullmatch(digest) is None or not folder.is_dir():
            raise ModelNotFound(
                f"no model has the digest {digest[:80]!r}",
                where="digest",
                details={"name": digest[:80]},
                expected="the digest that UploadModel returned: 64 hexadecimal digits",
                to_do="Upload the model, or list the stored ones",
            )
        return folder / "files"

    def model(self, digest: str) -> StoredModel:
        """One stored model."""
        fields = json.loads((self.folder(digest).parent / "model.json").read_text())
        return StoredModel(**fields | {"external_data": tuple(fields["external_data"])})

    def models(self, after: str, limit: int) -> list[StoredModel]:
        """Models in the order of their digests, those behind ``after``."""
        digests = sorted(path.name for path in (self.root / "models").iterdir() if path.name > after)
        return [self.model(digest) for digest in digests[:limit]]

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder to write in, gone afterwards unless it was moved into place."""
        folder = self.root / "incoming" / uuid.uuid4().hex
        (folder / "files").mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, digest: str, name: str) -> StoredModel:
        """Move an incoming folder, whose files are synced, into place; a model that is there already stays as it is."""
        files = sorted((folder / "files").iterdir())
        size = sum(file.stat().st_size for file in files)
        external = tuple(file.name for file in files if file.name != MODEL_FILE)
        model = StoredModel(digest, name, size, time.time(), external)
        write_synced(folder / "model.json", json.dumps(dataclasses.asdict(model)).encode())
        for changed in (folder / "files", folder):
            sync_folder(changed)
        place = self.root / "models" / digest
        if not place.is_dir():
            os.rename(folder, place)
            sync_folder(place.parent)
        return self.model(digest)

    def delete(self, digest: str) -> None:
        """Forget a model: out of sight by one rename, then removed."""
        place = self.folder(digest).parent
        with self.incoming() as folder:
            os.rename(place, folder / "deleted")
            sync_folder(place.parent)

    def accept_audit(self, audit: StoredAudit, request: bytes) -> None:
        """Write a new audit, what was asked first."""
        self._replace(f"{audit.audit_id}.request", request)
        self.save_audit(audit)

    def save_audit(self, audit: StoredAudit, report: bytes | None = None) -> None:
        """Write an audit, its report first; one that has ended needs neither its request nor its journal any more."""
        if report is not None:
            self._replace(f"{audit.audit_id}.report.json", report)
        self._replace(f"{audit.audit_id}.json", json.dumps(dataclasses.asdict(audit)).encode())
        if audit.state != RUNNING:
            self._unlink(audit.audit_id, "request", "journal")

    def request(self, audit_id: str) -> bytes | None:
        """What was asked of a running audit."""
        path = self.root / "audits" / f"{audit_id}.request"
        return path.read_bytes() if path.is_file() else None

    def journal(self, audit_id: str) -> Path:
        """The journal of a running audit; see ``journals``."""
        return self.root / "audits" / f"{audit_id}.journal"

    def audits(self) -> list[StoredAudit]:
        """All audits, the newest first."""
        ids = [path.name.removesuffix(".json") for path in (self.root / "audits").glob("*.json")]
        found = []
        for audit_id in filter(AUDIT_ID.fullmatch, ids):
            with suppress(AuditNotFound):  # deleted meanwhile
                found.append(self.audit(audit_id))
        return sorted(found, key=lambda audit: (audit.created, audit.audit_id), reverse=True)

    def delete_audit(self, audit_id: str) -> None:
        """Forget an audit, out of sight first."""
        self.audit(audit_id)
        self._unlink(audit_id, "json")
        self._unlink(audit_id, "request", "journal", "report.json")

    def _unlink(self, audit_id: str, *kinds: str) -> None:
        for kind in kinds:
            (self.root / "audits" / f"{audit_id}.{kind}").unlink(missing_ok=True)
        sync_folder(self.root / "audits")

    def _replace(self, name: str, data: bytes) -> None:
        with self.incoming() as folder:
            write_synced(folder / name, data)
            os.rename(folder / name, self.root / "audits" / name)
        sync_folder(self.root / "audits")

    def audit(self, audit_id: str) -> StoredAudit:
        """One audit; AuditNotFound when there is none of this id."""
        path = self.root / "audits" / f"{audit_id}.json"
        if AUDIT_ID.fullmatch(audit_id) is None or not path.is_file():
            raise AuditNotFound(
                f"no audit has the id {audit_id[:80]!r}",
                where="audit_id",
                details={"name": audit_id[:80]},
                expected="the audit_id of CreateAudit's first event: 32 hexadecimal digits",
            )
        return StoredAudit(**json.loads(path.read_text()))

    def report(self, audit_id: str) -> bytes:
        """The report of a succeeded audit, as JSON; AuditNotFound when it has none."""
        state = self.audit(audit_id).state
        if state != SUCCEEDED:
            raise AuditNotFound(f"the audit {audit_id} has no report: it is {state}", where="audit_id")
        return (self.root / "audits" / f"{audit_id}.report.json").read_bytes()


@contextmanager
def opened(root: Path) -> Iterator[Store]:
    """The store in this folder, made if need be, cleared of what a dead server left; for one server at a time."""
    for name in ("incoming", "models", "audits"):
        (root / name).mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        _take(lock.fileno(), root)
        store = Store(root)
        for rest in (root / "incoming").iterdir():
            shutil.rmtree(rest, ignore_errors=True)
        _tidy_audits(store)
        yield store


def _take(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExplainsvcError(
            "another server uses this store", where=str(root), to_do="Stop it, or give this one another store"
        ) from error


def _tidy_audits(store: Store) -> None:
    """Files of audits that are out of sight go; an audit that runs, but of which nobody knows what was asked, cannot go on."""
    audits = {audit.audit_id: audit for audit in store.audits()}
    for path in (store.root / "audits").iterdir():
        audit_id, _, kind = path.name.partition(".")
        over = audit_id in audits and audits[audit_id].state != RUNNING and kind in ("request", "journal")
        if over or audit_id not in audits:
            path.unlink()
    for audit in audits.values():
        if audit.state == RUNNING and store.request(audit.audit_id) is None:
            store.save_audit(dataclasses.replace(audit, state=ABORTED, ended=time.time(), error=STOPPED))
