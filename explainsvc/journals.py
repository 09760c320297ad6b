"""Journals of audits in files: JSON lines, each on the disk before the audit goes on.

::

    {"format": "explainsvc.journal/1", "question": {...}}
    {"part": ["parameter_randomization", "3 conv1", "gradient"], "seconds": 1.2, "rows": [...]}

The first line is what :func:`explainsvc.checks.journal.question_of` says of the audit, each other line a finished part. A
process that dies while it writes leaves a torn last line: a file is read up to the first line that cannot be read, and what
comes after it is made again. Floats are written so that they come back bit for bit, NaN and infinity by these names.

A file is locked while a process uses it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from explainsvc.check import Part
from explainsvc.checks.journal import Finished
from explainsvc.durable import sync_folder
from explainsvc.errors import JournalMismatch
from explainsvc.method import silent

FORMAT = "explainsvc.journal/1"


@dataclass(frozen=True)
class Contents:
    """What can be read of a journal: the question, None where not even that; the finished parts; how many bytes that takes."""

    question: Mapping[str, Any] | None = None
    finished: tuple[Finished, ...] = ()
    size: int = 0

    def rows(self) -> int:
        """Of all finished parts."""
        return sum(len(each.rows) for each in self.finished)


def contents(data: bytes) -> Contents:
    """The longest readable beginning of a journal."""
    found = Contents()
    for line in data.splitlines(keepends=True):
        try:
            found = _longer(found, line)
        except (ValueError, KeyError, TypeError):
            break
    return found


def _longer(before: Contents, line: bytes) -> Contents:
    """With one more line; ValueError, KeyError or TypeError where it cannot be read."""
    if not line.endswith(b"\n"):
        raise ValueError("torn")
    fields, size = json.loads(line), before.size + len(line)
    if before.size:
        return Contents(before.question, (*before.finished, Finished.from_json(fields)), size)
    if fields["format"] != FORMAT:
        raise JournalMismatch(f"its format is {fields['format']!r}", expected=f"{FORMAT!r}", to_do=TO_DO)
    return Contents(dict(fields["question"]), (), size)


TO_DO = "Give the audit another folder or journal, or let it begin afresh (--fresh)"


@dataclass(eq=False)
class JournalFile:
    """The journal of one audit in a file; see :class:`explainsvc.checks.journal.Journal`. Made by :func:`kept`.

    Attributes:
        path: Where it is; made when the audit begins.
        fresh: Whether to forget what is there.
        resumed: Called with the number of rows that are there already, when it is not 0.
    """

    path: Path
    fresh: bool = False
    resumed: Callable[[int], None] = silent
    _file: BinaryIO | None = None
    _closed: bool = False

    def begin(self, question: str) -> Mapping[Part, Finished]:
        """What is finished of this question.

        Raises:
            JournalMismatch: The file is the journal of another question, or another process uses it.
        """
        self._file = file = _opened(self.path)
        if self._closed:  # meanwhile: the thread that opens it is not waited for by whoever gives up
            file.close()
        before = Contents() if self.fresh else contents(file.read())
        asked = json.loads(question)
        if before.question not in (None, asked):
            raise _mismatch(self.path, before.question or {}, asked)
        file.truncate(before.size)
        file.seek(before.size)
        if before.question is None:
            self._append({"format": FORMAT, "question": asked})
            sync_folder(self.path.absolute().parent)
        if before.rows():
            self.resumed(before.rows())
        return {each.part: each for each in before.finished}

    def record(self, finished: Finished) -> None:
        """Append a part; it is on the disk when this returns."""
        self._append(finished.to_json())

    def _append(self, fields: Mapping[str, Any]) -> None:
        assert self._file is not None, "begin comes first"
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Unlock the file, and leave it for the next run; from any thread."""
        self._closed = True
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """The audit has its report: forget how it came about."""
        self.path.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    """For reading and writing, made where it is missing, locked."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise JournalMismatch("another process runs this audit", where=str(path), to_do=TO_DO) from error
    return file


def _mismatch(path: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> JournalMismatch:
    different = [name for name in dict.fromkeys([*there, *asked]) if there.get(name) != asked.get(name)]
    return JournalMismatch(
        f"it holds the rows of an audit with other {', '.join(different)}",
        where=str(path), expected="the journal of the same question", to_do=TO_DO,
    )  # fmt: skip


@contextmanager
def kept(path: str | os.PathLike[str], *, fresh: bool = False, resumed: Callable[[int], None] = silent) -> Iterator[JournalFile]:
    """A journal for ``Model.audit(..., journal=)``; the file stays, for a later run, until it is removed.

    ::

        with kept("audit.jsonl") as journal:
            report = model.audit(x, methods=["gradient"], journal=journal)
            report.save("report.json")
            journal.remove()

    Args:
        path: The file; its folder must exist.
        fresh: Forget what is there.
        resumed: Called with the number of rows that are there already, when it is not 0.
    """
    journal = JournalFile(Path(path), fresh, resumed)
    try:
        yield journal
    finally:
        journal.close()
