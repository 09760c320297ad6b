"""Stores of version 0.1: models and audits told by JSON files beside their bytes. They are taken over at the first start.

::

    models/<digest>/model.json      name, size, time
    audits/<id>.json                state, times, error

Each file goes once the database holds what it says, so that a start that is cut off is followed by one that goes on. What is
taken over belongs to nobody: callers see it where no one is asked who they are, and administrators.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from explainsvc.store.audits import SAVE, fields_of
from explainsvc.store.database import Database
from explainsvc.store.models import stored_files
from explainsvc.store.objects import sha256_of
from explainsvc.store.records import AUDIT_ID, DIGEST, StoredAudit


def take_over(root: Path, database: Database) -> None:
    """Everything that JSON files tell."""
    for path in (root / "models").glob("*/model.json"):
        if DIGEST.fullmatch(path.parent.name):
            _model(path, database)
    for path in (root / "audits").glob("*.json"):
        if AUDIT_ID.fullmatch(path.name.removesuffix(".json")):
            _audit(path, database)


def _model(path: Path, database: Database) -> None:
    told = json.loads(path.read_text())
    files = stored_files(path.parent / "files", sha256_of)
    listed = json.dumps([dataclasses.astuple(file) for file in files])
    with database.transaction() as connection:
        model = (told["digest"], told["size_bytes"], listed, told["created"])
        connection.execute("INSERT INTO models VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", model)
        claim = ("", told["digest"], told["name"], told["size_bytes"], told["created"], json.dumps(told["external_data"]))
        connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, x'') ON CONFLICT DO NOTHING", claim)
    path.unlink()


def _audit(path: Path, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(SAVE, fields_of(StoredAudit(**json.loads(path.read_text()))))
    path.unlink()
