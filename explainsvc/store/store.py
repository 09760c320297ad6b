"""The store of one server, and what one caller sees of it."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from explainsvc.errors import ExplainsvcError
from explainsvc.store.audits import Audits
from explainsvc.store.database import FILE, Database, opened_database
from explainsvc.store.legacy import take_over
from explainsvc.store.models import Models, Place, Wanted
from explainsvc.store.objects import LocalObjects, Objects, incoming, objects_at
from explainsvc.store.partials import Partials
from explainsvc.store.quarantine import StoredQuarantine
from explainsvc.store.records import Asked, Retention, StoredAudit, StoredModel, Viewer
from explainsvc.store.requests import answered

FOLDERS = ("incoming", "partial", "models", "audits")


@dataclass(frozen=True)
class View:
    """What one caller may see: everything else does not exist."""

    store: Store
    viewer: Viewer

    def model(self, digest: str) -> StoredModel:
        """One model; ModelNotFound."""
        return self.store.models.model(digest, self.viewer)

    def named(self, name: str, most: int) -> list[str]:
        """Digests of the models of exactly this name, so many at most."""
        return self.store.models.named(name, self.viewer, most)

    def folder(self, digest: str) -> Path:
        """A local folder with the files of a model; may take a download. ModelNotFound, StoreCorrupt."""
        return self.store.models.folder(digest, self.viewer)

    def known_folder(self, digest: str) -> Path | None:
        """See ``folder``; at once, None where it has to be looked for."""
        return self.store.models.known_folder(digest, self.viewer)

    def models(self, wanted: Wanted, after: Place | None, limit: int) -> list[StoredModel]:
        """Models in order, those behind a place."""
        return self.store.models.listed(self.viewer, wanted, after, limit)

    def set_preprocessing(self, digest: str, preprocessing: bytes) -> None:
        """Keep with a model how pictures become its inputs; ModelNotFound."""
        self.store.models.set_preprocessing(digest, self.viewer, preprocessing)

    def delete(self, digest: str) -> None:
        """Give up a model; ModelNotFound."""
        self.store.models.delete(digest, self.viewer)

    def audit(self, audit_id: str) -> StoredAudit:
        """One audit; AuditNotFound."""
        return self.store.audits.audit(audit_id, self.viewer)

    def audits(self, before: tuple[float, str] | None = None, limit: int = -1) -> list[StoredAudit]:
        """Audits, the newest first, those behind a place: its time and id."""
        return self.store.audits.listed(self.viewer, before, limit)

    def report(self, audit_id: str) -> bytes:
        """The report of an audit, as JSON; AuditNotFound."""
        return self.store.audits.report(audit_id, self.viewer)

    def delete_audit(self, audit_id: str) -> None:
        """Forget an audit; AuditNotFound."""
        self.store.audits.delete(audit_id, self.viewer)


@dataclass(frozen=True)
class Store:
    """Everything, for the server itself; made by ``opened``."""

    root: Path
    database: Database
    models: Models
    audits: Audits
    partials: Partials
    quarantine: StoredQuarantine
    retention: Retention

    def seen_by(self, viewer: Viewer) -> View:
        """What a caller sees."""
        return View(self, viewer)

    def incoming(self) -> AbstractContextManager[Path]:
        """A folder to write in, gone afterwards unless it was moved into place."""
        return incoming(self.root)

    def answered(self, asked: Asked) -> bytes | None:
        """What the same request was answered before; RequestIdReused."""
        return answered(self.database, asked)

    def sweep(self, active: frozenset[str] = frozenset()) -> None:
        """What has been kept for long enough goes; ``active``: the folders of uploads that are being written."""
        self.audits.sweep(self.retention.audit_seconds)
        self.partials.sweep(active)
        self.database.change("DELETE FROM requests WHERE created < ?", time.time() - self.retention.retry_seconds)
        self.models.sweep()


@contextmanager
def opened(root: Path, objects: str = "", retention: Retention | None = None) -> Iterator[Store]:
    """The store in this folder, made if need be, cleared of what a dead server left; for one server at a time.

    ``objects``: where the models' bytes lie, such as ``s3://bucket/prefix``; empty: in the folder itself.
    """
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        _take(lock.fileno(), root)
        for folder in (*(root / "incoming").iterdir(), *(root / "cache" / "incoming").glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        with opened_database(root / FILE) as database:
            take_over(root, database)
            yield _tidied(root, database, objects, retention or Retention())


def _tidied(root: Path, database: Database, url: str, retention: Retention) -> Store:
    """Nothing is left of what no database knows."""
    store_id = database.rows("SELECT store_id FROM identity")[0]["store_id"]
    objects = objects_at(url, root, retention.cache_bytes, store_id)
    if url:
        _move_out(LocalObjects(root), objects, database)
    models = Models(database, objects, retention.model_bytes)
    audits, partials = Audits(database, root), Partials(database, root, retention)
    store = Store(root, database, models, audits, partials, StoredQuarantine(database), retention)
    for part in (store.models, store.audits, store.partials):
        part.tidy()
    store.sweep()
    return store


def _move_out(local: LocalObjects, objects: Objects, database: Database) -> None:
    """A store that gets a URL later sends what it has in its folder there."""
    known = {row["digest"] for row in database.rows("SELECT digest FROM models")}
    for digest in local.digests():
        if digest in known:
            objects.put(digest, local.root / "models" / digest, ())
        local.remove(digest)


def _take(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExplainsvcError(
            "another server uses this store", where=str(root), to_do="Stop it, or give this one another store"
        ) from error
