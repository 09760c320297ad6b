"""Audits: what became of each in the database; what was asked, what is finished and the report in files.

::

    audits/<id>.request             what was asked, written before the database says that it runs; gone when it has ended
    audits/<id>.journal             what is finished of it; gone when it has ended
    audits/<id>.report.json         the report, written before the database says that there is one
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from explainsvc.durable import sync_folder, write_synced
from explainsvc.errors import AuditNotFound
from explainsvc.store.database import Database
from explainsvc.store.objects import incoming
from explainsvc.store.records import ABORTED, RUNNING, STOPPED, SUCCEEDED, Asked, StoredAudit, Viewer, no_audit, no_model
from explainsvc.store.requests import answered, remember

SAVE = """INSERT INTO audits (audit_id, owner, state, model_digest, created, ended, error, attempts, parts)
    VALUES (:audit_id, :owner, :state, :model_digest, :created, :ended, :error, :attempts, :parts)
    ON CONFLICT DO UPDATE SET state = excluded.state, ended = excluded.ended, error = excluded.error,
    attempts = excluded.attempts, parts = excluded.parts"""


@dataclass(frozen=True)
class Audits:
    """The audits of a store."""

    database: Database
    root: Path

    def accept(self, audit: StoredAudit, request: bytes, asked: Asked | None = None) -> str:
        """Write a new audit, what was asked first; its id, or that of the one which the same request has made before.

        Raises:
            ModelNotFound: The owner's claim to the model has gone meanwhile.
            RequestIdReused: Another request had this id.
        """
        self._replace(f"{audit.audit_id}.request", request)
        with self.database.transaction() as connection:
            earlier = None if asked is None else answered(self.database, asked)
            if earlier is None:
                self._check_model(connection, audit)
                connection.execute(SAVE, fields_of(audit))
                remember(connection, asked or Asked(audit.owner, ""), audit.audit_id.encode())
        if earlier is not None:
            self._unlink(audit.audit_id, "request")
        return audit.audit_id if earlier is None else earlier.decode()

    def save(self, audit: StoredAudit, report: bytes | None = None) -> None:
        """Write an audit, its report first; one that has ended needs neither its request nor its journal any more."""
        if report is not None:
            self._replace(f"{audit.audit_id}.report.json", report)
        with self.database.transaction() as connection:
            connection.execute(SAVE, fields_of(audit))
        if audit.state != RUNNING:
            self._unlink(audit.audit_id, "request", "journal")

    def request(self, audit_id: str) -> bytes | None:
        """What was asked of a running audit."""
        path = self.root / "audits" / f"{audit_id}.request"
        return path.read_bytes() if path.is_file() else None

    def journal(self, audit_id: str) -> Path:
        """The journal of a running audit; see ``journals``."""
        return self.root / "audits" / f"{audit_id}.journal"

    def audit(self, audit_id: str, viewer: Viewer) -> StoredAudit:
        """One audit; AuditNotFound where the viewer has none of this id."""
        sql = "SELECT * FROM audits WHERE audit_id = ? AND (owner = ? OR ?)"
        rows = self.database.rows(sql, audit_id, viewer.name, viewer.everything)
        if not rows:
            raise no_audit(audit_id)
        return _audit(rows[0])

    def listed(self, viewer: Viewer, before: tuple[float, str] | None = None, limit: int = -1) -> list[StoredAudit]:
        """Audits, the newest first, those behind a place: its time and id."""
        sql = """SELECT * FROM audits WHERE (owner = ? OR ?) AND (created, audit_id) < (?, ?)
            ORDER BY created DESC, audit_id DESC LIMIT ?"""
        rows = self.database.rows(sql, viewer.name, viewer.everything, *(before or (math.inf, "")), limit)
        return [_audit(row) for row in rows]

    def tally(self) -> Counter[str]:
        """How many audits are in each state."""
        rows = self.database.rows("SELECT state, COUNT(*) AS count FROM audits GROUP BY state")
        return Counter({row["state"]: row["count"] for row in rows})

    def report(self, audit_id: str, viewer: Viewer) -> bytes:
        """The report of a succeeded audit, as JSON; AuditNotFound when it has none."""
        state = self.audit(audit_id, viewer).state
        if state != SUCCEEDED:
            raise AuditNotFound(f"the audit {audit_id} has no report: it is {state}", where="audit_id")
        return (self.root / "audits" / f"{audit_id}.report.json").read_bytes()

    def delete(self, audit_id: str, viewer: Viewer) -> None:
        """Forget an audit, out of sight first."""
        self.audit(audit_id, viewer)
        self._forget([audit_id])

    def sweep(self, seconds: float) -> None:
        """Audits that ended so long ago go; 0: none."""
        if seconds:
            rows = self.database.rows("SELECT audit_id FROM audits WHERE ended < ?", time.time() - seconds)
            self._forget([row["audit_id"] for row in rows])

    def tidy(self) -> None:
        """Files of audits that are out of sight go; one that runs, but of which nobody knows what was asked, cannot go on."""
        audits = {audit.audit_id: audit for audit in self.listed(Viewer(everything=True))}
        for path in (self.root / "audits").iterdir():
            audit_id, _, kind = path.name.partition(".")
            over = audit_id in audits and audits[audit_id].state != RUNNING and kind in ("request", "journal")
            if over or audit_id not in audits:
                path.unlink()
        for audit in audits.values():
            if audit.state == RUNNING and self.request(audit.audit_id) is None:
                self.save(dataclasses.replace(audit, state=ABORTED, ended=time.time(), error=STOPPED))

    def _check_model(self, connection: sqlite3.Connection, audit: StoredAudit) -> None:
        """In the same transaction, so that nothing can evict the model before it is in use."""
        if connection.execute("SELECT 1 FROM models WHERE digest = ?", (audit.model_digest,)).fetchone() is None:
            raise no_model(audit.model_digest)

    def _forget(self, audit_ids: Iterable[str]) -> None:
        for audit_id in audit_ids:
            self.database.change("DELETE FROM audits WHERE audit_id = ?", audit_id)
            self._unlink(audit_id, "request", "journal", "report.json")

    def _unlink(self, audit_id: str, *kinds: str) -> None:
        for kind in kinds:
            (self.root / "audits" / f"{audit_id}.{kind}").unlink(missing_ok=True)
        sync_folder(self.root / "audits")

    def _replace(self, name: str, data: bytes) -> None:
        with incoming(self.root) as folder:
            write_synced(folder / name, data)
            os.rename(folder / name, self.root / "audits" / name)
        sync_folder(self.root / "audits")


def fields_of(audit: StoredAudit) -> dict[str, object]:
    """What the database keeps of an audit."""
    error = None if audit.error is None else json.dumps(audit.error)
    return dataclasses.asdict(audit) | {"error": error}


def _audit(row: sqlite3.Row) -> StoredAudit:
    fields = dict(row)
    return StoredAudit(**fields | {"error": None if fields["error"] is None else json.loads(fields["error"])})
