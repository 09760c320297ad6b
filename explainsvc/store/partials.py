"""Uploads that have begun: their bytes stay, for a while, when the connection breaks or the server dies.

::

    partial/<random>/files/         what has arrived of each file
"""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from explainsvc.errors import StoreFull
from explainsvc.store.database import Database
from explainsvc.store.records import MODEL_FILE, Retention, no_upload
from explainsvc.store.requests import reused

ONCE = "."
"""Begins the ids of uploads whose senders gave none, and so cannot go on with them."""


@dataclass(frozen=True)
class Partial:
    """An upload that has begun; ``folder`` has the folder ``files``."""

    owner: str
    upload_id: str
    folder: Path
    touched: float

    def resumable(self) -> bool:
        """Whether its sender gave it an id."""
        return not self.upload_id.startswith(ONCE)

    def arrived(self) -> dict[str, int]:
        """Bytes by the name of the file; empty for the model itself."""
        sizes = {path.name: path.stat().st_size for path in (self.folder / "files").glob("*")}
        return {"": sizes.pop(MODEL_FILE, 0)} | sizes


@dataclass(frozen=True)
class Partials:
    """The uploads of a store that have begun and not ended."""

    database: Database
    root: Path
    retention: Retention

    def begin(self, owner: str, upload_id: str, body: str, size: int) -> Partial:
        """A new upload of so many bytes, or one that goes on; ``body`` is a digest of its header.

        Raises:
            RequestIdReused: The id belongs to an upload with another header.
            StoreFull: The owner has as much unfinished as may be.
        """
        upload_id, now = upload_id or ONCE + uuid.uuid4().hex, time.time()
        with self.database.transaction() as connection:
            mine = connection.execute("SELECT * FROM uploads WHERE owner = ?", (owner,)).fetchall()
            for row in mine:
                if row["upload_id"] == upload_id:
                    if row["body"] != body:
                        raise reused("upload_id", upload_id)
                    touch = "UPDATE uploads SET touched = ? WHERE owner = ? AND upload_id = ?"
                    connection.execute(touch, (now, owner, upload_id))
                    return Partial(owner, upload_id, self.root / "partial" / row["folder"], now)
            self._check_room(len(mine), sum(row["size_bytes"] for row in mine) + size)
            folder = self.root / "partial" / uuid.uuid4().hex
            (folder / "files").mkdir(parents=True)
            row = (owner, upload_id, folder.name, body, size, now)
            connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)", row)
        return Partial(owner, upload_id, folder, now)

    def find(self, owner: str, upload_id: str) -> Partial:
        """An upload that can go on; UploadNotFound where the owner has none of this id."""
        sql = "SELECT * FROM uploads WHERE owner = ? AND upload_id = ?"
        for row in self.database.rows(sql, owner, upload_id) if not upload_id.startswith(ONCE) else ():
            return Partial(owner, upload_id, self.root / "partial" / row["folder"], row["touched"])
        raise no_upload(upload_id)

    def drop(self, partial: Partial) -> None:
        """Forget an upload and its bytes."""
        self.database.change("DELETE FROM uploads WHERE folder = ?", partial.folder.name)
        shutil.rmtree(partial.folder, ignore_errors=True)

    def tidy(self) -> None:
        """After a start: what cannot go on, and folders that nobody knows, are removed."""
        self.database.change("DELETE FROM uploads WHERE substr(upload_id, 1, 1) = ?", ONCE)
        known = {row["folder"] for row in self.database.rows("SELECT folder FROM uploads")}
        for folder in (self.root / "partial").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        for name in known:
            (self.root / "partial" / name / "files").mkdir(parents=True, exist_ok=True)

    def sweep(self, active: frozenset[str] = frozenset()) -> None:
        """What nobody has gone on with for long enough goes; ``active``: names of folders that are being written."""
        rows = self.database.rows("SELECT * FROM uploads WHERE touched < ?", time.time() - self.retention.retry_seconds)
        for row in rows:
            if row["folder"] not in active:
                self.drop(Partial(row["owner"], row["upload_id"], self.root / "partial" / row["folder"], row["touched"]))

    def _check_room(self, uploads: int, size: int) -> None:
        if uploads >= self.retention.uploads > 0:
            raise _too_much(f"{uploads} uploads have begun and not ended", f"fewer than {self.retention.uploads}")
        if size > self.retention.upload_bytes > 0:
            most = f"at most {self.retention.upload_bytes} bytes"
            raise _too_much(f"unfinished uploads announce {size} bytes together", most)


def _too_much(what: str, expected: str) -> StoreFull:
    return StoreFull(what, where="upload_id", expected=expected, to_do="Finish them, or wait until they expire")
