"""Requests that carry an id: who sends one again, not knowing what became of it, gets the answer that the first one got."""

from __future__ import annotations

import sqlite3
import time

from explainsvc.errors import RequestIdReused
from explainsvc.store.database import Database
from explainsvc.store.records import Asked

FIND = "SELECT body, answer FROM requests WHERE owner = ? AND rpc = ? AND request_id = ?"


def answered(database: Database, asked: Asked) -> bytes | None:
    """What the same request was answered; None where it is new.

    Raises:
        RequestIdReused: Another request had this id.
    """
    rows = database.rows(FIND, asked.owner, asked.rpc, asked.request_id) if asked.request_id else []
    for row in rows:
        if row["body"] != asked.body:
            raise reused("request_id", asked.request_id)
        return bytes(row["answer"])
    return None


def remember(connection: sqlite3.Connection, asked: Asked, answer: bytes) -> None:
    """Write an answer down, in the transaction that makes it true; the first one stays."""
    if asked.request_id:
        row = (asked.owner, asked.rpc, asked.request_id, asked.body, answer, time.time())
        connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


def reused(field: str, value: str) -> RequestIdReused:
    """The error of an id that stands for something else."""
    return RequestIdReused(
        f"{value[:80]!r} was given to another request", where=field,
        expected="a new id for each request, or the same request", to_do="Send it under a new id, such as a random UUID",
    )  # fmt: skip
