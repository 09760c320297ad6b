"""Receiving the files of a model: announced sizes and sha256 are checked while the bytes arrive.

What has arrived is with the system at once, so that an upload can go on after the process has died. Nothing here looks into
the bytes; that is for a worker.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from explainsvc.errors import (
    ExternalDataForbidden,
    InvalidInput,
    ModelLimitExceeded,
    UploadDigestMismatch,
    Violation,
)
from explainsvc.store import MODEL_FILE

SHA256 = re.compile(r"[0-9a-f]{64}")
FLAT_NAME = re.compile(r"(?!\.)[^/\\:\x00-\x1f\x7f]+")
BLOCK = 2**20
MAX_FILES = 1000
MAX_NAME = 200
"""Bytes; file systems take 255."""


@dataclass(frozen=True)
class Announced:
    """One file of an upload; the model itself has the empty name."""

    name: str
    size_bytes: int
    sha256: str


@dataclass
class Receiver:
    """One file while it arrives."""

    announced: Announced
    file: FileIO
    received: int = 0
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, data: bytes, offset: int | None = None) -> None:
        """Take the next bytes, which may say where they belong; more than announced is refused at once."""
        if offset not in (None, self.received):
            raise InvalidInput(
                "a chunk does not go on where its file ends",
                violations=[Violation("chunk.offset", f"is {offset}, expected {self.received}")],
                to_do="Ask GetUpload how much has arrived, and go on from there",
            )
        self.received += len(data)
        if self.received > self.announced.size_bytes:
            raise self._mismatch(f"more than the {self.announced.size_bytes} bytes announced")
        self.sha256.update(data)
        self.file.write(data)

    def resume(self) -> None:
        """Read what has arrived before."""
        while block := self.file.read(BLOCK):
            self.sha256.update(block)
            self.received += len(block)

    def missing(self) -> bool:
        """Whether bytes are yet to come."""
        return self.received < self.announced.size_bytes

    def finish(self) -> None:
        """All bytes are there, are the ones announced, and are on disk."""
        if self.received != self.announced.size_bytes:
            raise self._mismatch(f"{self.received} bytes of {self.announced.size_bytes} announced")
        if self.sha256.hexdigest() != self.announced.sha256.lower():
            raise self._mismatch(f"sha256 {self.sha256.hexdigest()}, announced {self.announced.sha256.lower()}")
        os.fsync(self.file.fileno())

    def _mismatch(self, what: str) -> UploadDigestMismatch:
        return UploadDigestMismatch(
            f"received {what}",
            where=self.announced.name or MODEL_FILE,
            expected="the bytes that the header announced",
            to_do="Send the file again",
        )


@dataclass(frozen=True)
class Upload:
    """The files of one upload, by name."""

    receivers: dict[str, Receiver]

    def write(self, name: str, data: bytes, offset: int | None = None) -> None:
        """Take the next bytes of one file."""
        if name not in self.receivers:
            raise InvalidInput(
                "a chunk belongs to a file that the header does not announce",
                violations=[Violation("chunk.file", f"{name[:200]!r} is not announced")],
                expected=f"empty for the model, or one of {[n for n in self.receivers if n][:20]}",
            )
        self.receivers[name].write(data, offset)

    def resume(self) -> None:
        """Read what has arrived before."""
        for receiver in self.receivers.values():
            receiver.resume()

    def missing(self) -> bool:
        """Whether bytes are yet to come."""
        return any(receiver.missing() for receiver in self.receivers.values())

    def finish(self) -> None:
        """Check and sync every file."""
        for receiver in self.receivers.values():
            receiver.finish()


@contextmanager
def receiving(folder: Path, files: Sequence[Announced]) -> Iterator[Upload]:
    """Open the announced files in a folder; ``check`` them before, and ``resume`` where some of them may be there."""
    with ExitStack() as stack:
        opened = [stack.enter_context((folder / (file.name or MODEL_FILE)).open("a+b", buffering=0)) for file in files]
        for file in opened:
            file.seek(0)
        yield Upload({file.name: Receiver(file, out) for file, out in zip(files, opened, strict=True)})


def check(files: Sequence[Announced], max_bytes: int) -> None:
    """Sizes within the limit, digests well formed, external names flat and different."""
    violations = [v for f in files for v in _violations(f)]
    names = [f.name for f in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    violations += [Violation("header.external_data.name", f"{name!r} is given twice") for name in twice]
    if len(files) > MAX_FILES:
        violations.append(Violation("header.external_data", f"are {len(files) - 1} files, expected < {MAX_FILES}"))
    if violations:
        raise InvalidInput("the header of the upload is not usable", violations=violations)
    for name in names[1:]:
        if FLAT_NAME.fullmatch(name) is None or len(name.encode()) > MAX_NAME or name == MODEL_FILE:
            raise ExternalDataForbidden(
                f"external data cannot be stored under the name {name[:200]!r}",
                where="header.external_data.name",
                expected=f"a file name without folders and without a leading dot, other than {MODEL_FILE}",
                to_do="Save the model with all external data in one file beside it",
            )
    total = sum(f.size_bytes for f in files)
    if total > max_bytes:
        raise ModelLimitExceeded(
            f"the upload announces {total} bytes",
            where="header.size_bytes",
            expected=f"at most {max_bytes} bytes",
            to_do="Raise max_upload_bytes of the server",
        )


def _violations(file: Announced) -> list[Violation]:
    where = f'header.external_data["{file.name}"]' if file.name else "header"
    found = []
    if file.size_bytes < 0 or (not file.name and file.size_bytes == 0):
        found.append(Violation(f"{where}.size_bytes", f"is {file.size_bytes}, expected the size of the file in bytes"))
    if SHA256.fullmatch(file.sha256.lower()) is None:
        found.append(Violation(f"{where}.sha256", f"is {file.sha256[:80]!r}, expected 64 hexadecimal digits"))
    return found
