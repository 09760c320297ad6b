"""Processes that write to a store until they are killed: ``python -m tests.service.writer``, one fork for each line of stdin."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from explainsvc.store import MODEL_FILE, SERVER, LocalObjects, Store, StoredAudit, StoredFile, opened
from tests.service.stores import put

REPORT = json.dumps({"report": "x" * 100_000}).encode()


def data(number: int) -> bytes:
    """The bytes of a model."""
    return str(number).encode() * 200_000


def digest(number: int) -> str:
    """Its digest."""
    return hashlib.sha256(data(number)).hexdigest()


class Careless(LocalObjects):
    """Copies into place, piece by piece, where it ought to rename."""

    def put(self, digest: str, folder: Path, there: Sequence[StoredFile]) -> bool:  # noqa: ARG002  # see Objects
        """See Objects."""
        place = self.root / "models" / digest / "files"
        place.mkdir(parents=True)
        content = (folder / "files" / MODEL_FILE).read_bytes()
        with (place / MODEL_FILE).open("wb", buffering=0) as file:
            for start in range(0, len(content), 5000):
                file.write(content[start : start + 5000])
        return True


def told_too_early(kept: Store, number: int) -> None:
    """The database hears of a model before it is there."""
    size, files = len(data(number)), json.dumps([[MODEL_FILE, len(data(number)), digest(number)]])
    kept.database.change("INSERT INTO models VALUES (?, ?, ?, 0.0)", digest(number), size, files)
    kept.database.change("INSERT INTO claims VALUES ('', ?, 'm', ?, 0.0, '[]', x'')", digest(number), size)


def write(root: Path, careless: bool) -> None:
    """Models and reports, every third model deleted again; each number is printed when all of it is promised."""
    with opened(root) as kept:
        if careless:
            kept = replace(kept, models=replace(kept.models, objects=Careless(kept.root)))
        for number in itertools.count():
            if careless:
                told_too_early(kept, number)
            put(kept, data(number))
            if number % 3 == 2:
                kept.models.delete(digest(number), SERVER)
            kept.audits.save(StoredAudit(f"{number:032x}", "succeeded", "", 0.0, 1.0), REPORT)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def main() -> None:
    """Each line names a folder, and whether to be careless."""
    for line in sys.stdin:
        root, careless = line.rsplit(maxsplit=1)
        child = os.fork()  # of a process that has one thread and has imported everything
        if child == 0:
            write(Path(root), careless == "careless")
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
        sys.stdout.write("dead\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
