"""The store's SQLite database: one connection for all threads, and its migrations.

Every commit is on the disk before it returns (WAL, ``synchronous=FULL``), so that what was promised to a caller survives a
crash of the process and of the machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from explainsvc.errors import ExplainsvcError

FILE = "store.sqlite3"
BUSY_SECONDS = 10.0

MIGRATIONS = (
    """
    CREATE TABLE models (
        digest TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, files TEXT NOT NULL, used REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE claims (
        owner TEXT NOT NULL, digest TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
        name TEXT NOT NULL, size_bytes INTEGER NOT NULL, created REAL NOT NULL, external_data TEXT NOT NULL,
        PRIMARY KEY (owner, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX claims_by_digest ON claims (digest);
    CREATE INDEX claims_by_time ON claims (owner, created, digest);
    CREATE TABLE audits (
        audit_id TEXT PRIMARY KEY, owner TEXT NOT NULL, state TEXT NOT NULL, model_digest TEXT NOT NULL,
        created REAL NOT NULL, ended REAL, error TEXT, attempts INTEGER NOT NULL, parts INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX audits_by_time ON audits (created, audit_id);
    """,
    """
    CREATE TABLE uploads (
        owner TEXT NOT NULL, upload_id TEXT NOT NULL, folder TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
        size_bytes INTEGER NOT NULL, touched REAL NOT NULL, PRIMARY KEY (owner, upload_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE requests (
        owner TEXT NOT NULL, rpc TEXT NOT NULL, request_id TEXT NOT NULL, body TEXT NOT NULL,
        answer BLOB NOT NULL, created REAL NOT NULL, PRIMARY KEY (owner, rpc, request_id)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE identity (store_id TEXT NOT NULL) STRICT;
    INSERT INTO identity VALUES (lower(hex(randomblob(16))));
    """,
    "ALTER TABLE claims ADD COLUMN preprocessing BLOB NOT NULL DEFAULT x'';",
    """
    CREATE TABLE quarantine (model TEXT PRIMARY KEY, strikes TEXT NOT NULL, until REAL NOT NULL) STRICT, WITHOUT ROWID;
    """,
)
"""Each takes a database one version up; ``PRAGMA user_version`` counts those that it has had. Old ones never change."""


@dataclass(frozen=True)
class Database:
    """One connection; made by ``opened_database``."""

    connection: sqlite3.Connection
    lock: RLock = field(default_factory=RLock)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; on the disk when it ends. No other thread is in between."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: Any, **named: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        with self.lock:
            return self.connection.execute(sql, named or values).fetchall()

    def change(self, sql: str, *values: Any) -> None:
        """One statement as a transaction of its own."""
        with self.transaction() as connection:
            connection.execute(sql, values)


@contextmanager
def opened_database(path: Path) -> Iterator[Database]:
    """The database in this file, made or brought up to date if need be."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection, path)
        yield Database(connection)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        raise ExplainsvcError("is no database of a store", where=str(path), to_do="Restore it, or use another store") from error
    finally:
        connection.close()


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring a database up to date, each step whole; one from a newer version is refused."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise ExplainsvcError(
            f"the store has the layout {version} of a newer version", where=str(path),
            expected=f"at most {len(migrations)}", to_do="Use that version, or another store",
        )  # fmt: skip
    for number, script in enumerate(migrations[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
