"""Models: bytes that are there once, claims of their owners, and what goes when there is too much of it.

A model has no owner; each who has uploaded its bytes, all of them, has a claim to it. What a claim shows is what its owner
sent. Whoever has no claim cannot tell a model from one that does not exist.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from explainsvc.errors import StoreFull
from explainsvc.store.database import Database
from explainsvc.store.objects import Objects
from explainsvc.store.records import MODEL_FILE, RUNNING, Asked, StoredFile, StoredModel, Viewer, no_model
from explainsvc.store.requests import remember

LISTED = """
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY digest ORDER BY owner <> :me, created) AS nth
        FROM claims WHERE owner = :me OR :all
    )
    WHERE nth = 1 AND substr(name, 1, length(:prefix)) = :prefix
        AND (:first IS NULL OR created >= :first) AND (:end IS NULL OR created < :end)
"""
"""Each model once: the viewer's own claim, or for one who sees everything the oldest."""


@dataclass(frozen=True)
class Wanted:
    """Which models a list shows: the parts of it that are set; times in seconds since 1970."""

    name_prefix: str = ""
    created_from: float | None = None
    created_before: float | None = None
    by_time: bool = False
    newest_first: bool = False


MOST_PLACES = 4096
"""Folders that are remembered."""


@dataclass(eq=False)
class Places:
    """Folders that were found, until a claim or a model is deleted: the next call on a model need not wait for the database.

    Whoever looks in the database remembers how often something had been deleted before: what he finds counts only as long as
    that has not changed.
    """

    deletions: int = 0
    found: dict[tuple[str, Viewer], tuple[int, Path]] = field(default_factory=dict)

    def get(self, digest: str, viewer: Viewer) -> Path | None:
        """The folder; None where it must be looked for."""
        deletions, folder = self.found.get((digest, viewer), (-1, None))
        return folder if deletions == self.deletions else None

    def remember(self, digest: str, viewer: Viewer, folder: Path, deletions: int) -> None:
        """What was found after so many deletions."""
        if len(self.found) >= MOST_PLACES:
            self.found.clear()
        self.found[digest, viewer] = (deletions, folder)

    def deleted(self) -> None:
        """Something is gone: said after it is, so that who found it before cannot be believed."""
        self.deletions += 1
        self.found.clear()


Place = tuple[float | str, ...]
"""Where a model stands in a list: its digest, or its time and digest."""


@dataclass(frozen=True)
class Models:
    """The models of a store."""

    database: Database
    objects: Objects
    max_bytes: int = 0
    used: dict[str, float] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    moving: Lock = field(default_factory=Lock)

    def model(self, digest: str, viewer: Viewer) -> StoredModel:
        """The viewer's claim, for one who sees everything the oldest; ModelNotFound where there is none."""
        sql = "SELECT * FROM claims WHERE digest = ? AND (owner = ? OR ?) ORDER BY owner <> ?, created LIMIT 1"
        rows = self.database.rows(sql, digest, viewer.name, viewer.everything, viewer.name)
        if not rows:
            raise no_model(digest)
        return _model(rows[0])

    def named(self, name: str, viewer: Viewer, most: int) -> list[str]:
        """Digests of the models that the viewer, or one who is seen, has stored under exactly this name."""
        sql = "SELECT DISTINCT digest FROM claims WHERE name = ? AND (owner = ? OR ?) LIMIT ?"
        return [row["digest"] for row in self.database.rows(sql, name, viewer.name, viewer.everything, most)]

    def folder(self, digest: str, viewer: Viewer) -> Path:
        """A local folder with the model's files and nothing else; it may take a download.

        Raises:
            ModelNotFound: The viewer has no such model.
            StoreCorrupt: The bytes are no longer those that were uploaded.
        """
        deletions = self.places.deletions
        self.model(digest, viewer)
        files = self._files(digest)
        if not files:
            raise no_model(digest)
        self.used[digest] = time.time()
        folder = self.objects.folder(digest, files)
        if self.objects.lasting:
            self.places.remember(digest, viewer, folder, deletions)
        return folder

    def known_folder(self, digest: str, viewer: Viewer) -> Path | None:
        """See ``folder``; at once, None where it has to be looked for."""
        folder = self.places.get(digest, viewer)
        if folder is not None:
            self.used[digest] = time.time()
        return folder

    def listed(self, viewer: Viewer, wanted: Wanted, after: Place | None, limit: int) -> list[StoredModel]:
        """Models in the order of their digests or of their times, those behind a place; each once."""
        order = ("created", "digest") if wanted.by_time else ("digest",)
        sign, direction = ("<", "DESC") if wanted.newest_first else (">", "ASC")
        places = {f"after{k}": value for k, value in enumerate(after or ())}
        behind = f"({', '.join(order)}) {sign} ({', '.join(':' + name for name in places)})" if after else "true"
        return [
            _model(row)
            for row in self.database.rows(
                f"{LISTED} AND {behind} ORDER BY {', '.join(f'{column} {direction}' for column in order)} LIMIT :limit",
                me=viewer.name, all=viewer.everything, prefix=wanted.name_prefix, limit=limit,
                first=wanted.created_from, end=wanted.created_before, **places,
            )
        ]  # fmt: skip

    def keep(
        self, folder: Path, model: StoredModel, files: Sequence[StoredFile], asked: Asked, answer: Callable[[StoredModel], bytes]
    ) -> StoredModel:
        """Take a folder whose ``files`` are synced as a model of the one who ``asked``; a claim that is there stays as it is.

        Raises:
            StoreFull: There is no room, and none can be made.
        """
        with self.moving:
            self._make_room(model)
            taken = self.objects.put(model.digest, folder, self._files(model.digest))
            with self.database.transaction() as connection:
                listed = json.dumps([dataclasses.astuple(file) for file in files])
                connection.execute(
                    "INSERT INTO models VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET files = iif(?, excluded.files, files)",
                    (model.digest, model.size_bytes, listed, model.created, taken),
                )
                external = json.dumps(model.external_data)
                claim = (asked.owner, model.digest, model.name, model.size_bytes, model.created, external)
                connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, x'') ON CONFLICT DO NOTHING", claim)
                kept = self.model(model.digest, Viewer(asked.owner))
                remember(connection, asked, answer(kept))
        self.used[model.digest] = time.time()
        return kept

    def set_preprocessing(self, digest: str, viewer: Viewer, preprocessing: bytes) -> None:
        """Change the viewer's claim, or all of them where the viewer has none but sees everything; ModelNotFound."""
        with self.database.transaction() as connection:
            change = "UPDATE claims SET preprocessing = ? WHERE digest = ?"
            changed = connection.execute(f"{change} AND owner = ?", (preprocessing, digest, viewer.name)).rowcount
            if changed == 0 and viewer.everything:
                changed = connection.execute(change, (preprocessing, digest)).rowcount
            if changed == 0:
                raise no_model(digest)

    def delete(self, digest: str, viewer: Viewer) -> None:
        """Give up the viewer's claim, or all of them where the viewer has none but sees everything; the last takes the bytes.

        Raises:
            ModelNotFound: There is no such claim.
        """
        with self.moving:
            with self.database.transaction() as connection:
                gone = connection.execute("DELETE FROM claims WHERE digest = ? AND owner = ?", (digest, viewer.name)).rowcount
                if gone == 0 and viewer.everything:
                    gone = connection.execute("DELETE FROM claims WHERE digest = ?", (digest,)).rowcount
                if gone == 0:
                    raise no_model(digest)
                left = connection.execute("SELECT 1 FROM claims WHERE digest = ?", (digest,)).fetchone()
                if left is None:
                    connection.execute("DELETE FROM models WHERE digest = ?", (digest,))
            self.places.deleted()
            if left is None:
                self.objects.remove(digest)

    def tidy(self) -> None:
        """Bytes that the database knows nothing of go: a server died before it could promise them, or after it forgot them."""
        with self.moving:
            known = {row["digest"] for row in self.database.rows("SELECT digest FROM models")}
            for digest in self.objects.digests() - known:
                self.objects.remove(digest)

    def sweep(self) -> None:
        """Write down when models were used last, and keep within the bytes."""
        used = {digest: self.used.pop(digest) for digest in list(self.used)}
        with self.moving:
            if used:
                with self.database.transaction() as connection:
                    connection.executemany("UPDATE models SET used = ? WHERE digest = ?", [(t, d) for d, t in used.items()])
            if self.max_bytes:
                self._evict(self.max_bytes)

    def check_room(self, size: int) -> None:
        """An upload of this size could be kept; StoreFull otherwise."""
        if self.max_bytes and size > self.max_bytes:
            raise _full(size, self.max_bytes)

    def _make_room(self, model: StoredModel) -> None:
        """The same whether or not the model is there, so that nobody learns it from the room that is left."""
        if self.max_bytes and not self._evict(self.max_bytes - model.size_bytes, model.digest):
            raise _full(model.size_bytes, self.max_bytes)

    def _evict(self, most: int, besides: str = "") -> bool:
        """Models that were not used for longest go until all take ``most`` bytes; whether that succeeded."""
        with self.database.transaction() as connection:
            rows = connection.execute("SELECT digest, size_bytes, used FROM models WHERE digest <> ?", (besides,)).fetchall()
            audits = connection.execute("SELECT model_digest FROM audits WHERE state = ?", (RUNNING,))
            busy = {row["model_digest"] for row in audits}
            total, going = sum(row["size_bytes"] for row in rows), list[str]()
            for row in sorted(rows, key=lambda row: self.used.get(row["digest"], row["used"])):
                if total > most and row["digest"] not in busy:
                    going.append(row["digest"])
                    total -= row["size_bytes"]
            if total > most:
                return False
            connection.executemany("DELETE FROM models WHERE digest = ?", [(digest,) for digest in going])
        if going:
            self.places.deleted()
        for digest in going:
            self.objects.remove(digest)
        return True

    def _files(self, digest: str) -> list[StoredFile]:
        rows = self.database.rows("SELECT files FROM models WHERE digest = ?", digest)
        return [StoredFile(*file) for row in rows for file in json.loads(row["files"])]


def stored_files(folder: Path, sha256: Callable[[Path], str]) -> list[StoredFile]:
    """What lies in a folder, by name."""
    return [StoredFile(path.name, path.stat().st_size, sha256(path)) for path in sorted(folder.iterdir())]


def external_names(files: Sequence[StoredFile]) -> tuple[str, ...]:
    """The files beside the model itself."""
    return tuple(file.name for file in files if file.name != MODEL_FILE)


def _model(row: sqlite3.Row) -> StoredModel:
    external = tuple(json.loads(row["external_data"]))
    return StoredModel(row["digest"], row["name"], row["size_bytes"], row["created"], external, row["preprocessing"])


def _full(size: int, most: int) -> StoreFull:
    return StoreFull(
        f"there is no room for a model of {size} bytes", expected=f"at most {most} bytes of models, those of running audits stay",
        to_do="Delete models, or raise model_bytes of the server",
    )  # fmt: skip
