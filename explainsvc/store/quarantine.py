"""Models that brought down workers, so that a server that starts again does not begin anew with them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from explainsvc.store.database import Database

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredQuarantine:
    """A row a model: when it struck, and until when it is refused, in seconds since 1970."""

    database: Database

    def read(self) -> dict[str, tuple[list[float], float]]:
        """Model → its strikes, and the end of its quarantine; 0 where it is in none."""
        rows = self.database.rows("SELECT model, strikes, until FROM quarantine")
        return {row["model"]: (json.loads(row["strikes"]), row["until"]) for row in rows}

    def write(self, model: str, strikes: Sequence[float], until: float) -> None:
        """What holds for a model from now on; where it cannot be written down, this server still knows it."""
        try:
            if strikes or until:
                self.database.change("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)", model, json.dumps(strikes), until)
            else:
                self.database.change("DELETE FROM quarantine WHERE model = ?", model)
        except sqlite3.Error:
            LOG.exception("the quarantine of %s is not written down", model)
