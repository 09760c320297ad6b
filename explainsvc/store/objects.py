"""Where the bytes of models lie: in a folder of this machine, or in an object store through fsspec, with local copies.

::

    models/<digest>/files/          model.onnx and its external data, as uploaded
    incoming/<random>/              files on their way; emptied when a server starts

A model is there as a whole or not at all. Locally one rename of a synced folder does that. In an object store each file is
uploaded under a temporary key and then copied, and the store's database, which alone says what there is, hears of it last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import fsspec

from explainsvc.durable import sync_folder
from explainsvc.errors import ExplainsvcError, StoreCorrupt
from explainsvc.store.records import StoredFile

BLOCK = 2**20
BY_OBSTORE = ("s3", "s3a", "gs", "gcs")
"""Protocols that the extras `s3` and `gcs` bring, where nothing else is installed that knows them."""


class Objects(Protocol):
    """Whole models, by their digest."""

    @property
    def lasting(self) -> bool:
        """Whether a folder stays until its model is removed."""

    def put(self, digest: str, folder: Path, there: Sequence[StoredFile]) -> bool:
        """Take ``folder``, whose folder ``files`` holds synced files, unless these are ``there``; whether it was taken."""

    def remove(self, digest: str) -> None:
        """Forget a model; nothing where there is none."""

    def folder(self, digest: str, files: Sequence[StoredFile]) -> Path:
        """A local folder with these files, whose bytes are those that were uploaded.

        Raises:
            StoreCorrupt: They are not, or not all there.
        """

    def digests(self) -> set[str]:
        """Of all models, whether or not the database knows them."""


@contextmanager
def incoming(root: Path) -> Iterator[Path]:
    """A folder to write in, gone afterwards unless it was moved into place."""
    folder = root / "incoming" / uuid.uuid4().hex
    (folder / "files").mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path, files: Sequence[StoredFile]) -> None:
    """The folder holds exactly the bytes of these files; StoreCorrupt otherwise."""
    for file in files:
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size_bytes or sha256_of(path) != file.sha256:
            raise StoreCorrupt(
                "the stored bytes of the model are not those that were uploaded", where=file.name,
                expected=f"sha256 {file.sha256}", to_do="Upload the model again",
            )  # fmt: skip


@dataclass(frozen=True)
class LocalObjects:
    """A folder. Files are held against their digests when they are first read after a start."""

    root: Path
    intact: set[str] = field(default_factory=set)
    lasting: bool = True

    def put(self, digest: str, folder: Path, there: Sequence[StoredFile]) -> bool:
        """See Objects."""
        with suppress(StoreCorrupt):
            if there:
                self.folder(digest, there)
                return False
        for changed in (folder / "files", folder):
            sync_folder(changed)
        self.remove(digest)
        place = self.root / "models" / digest
        os.rename(folder, place)
        sync_folder(place.parent)
        self.intact.add(digest)
        return True

    def remove(self, digest: str) -> None:
        """See Objects; out of sight by one rename, then removed."""
        place = self.root / "models" / digest
        self.intact.discard(digest)
        if place.is_dir():
            with incoming(self.root) as folder:
                os.rename(place, folder / "deleted")
                sync_folder(place.parent)

    def folder(self, digest: str, files: Sequence[StoredFile]) -> Path:
        """See Objects."""
        folder = self.root / "models" / digest / "files"
        if digest not in self.intact:
            check_files(folder, files)
            self.intact.add(digest)
        return folder

    def digests(self) -> set[str]:
        """See Objects."""
        return {path.name for path in (self.root / "models").iterdir()}


@dataclass(frozen=True)
class RemoteObjects:
    """Keys of an fsspec file system below ``prefix``, and copies in the folder ``cache`` of ``root``, at most so many bytes."""

    files: Any
    prefix: str
    root: Path
    cache_bytes: int
    local: LocalObjects
    fetching: Lock = field(default_factory=Lock)
    lasting: bool = False

    def put(self, digest: str, folder: Path, there: Sequence[StoredFile]) -> bool:  # noqa: ARG002  # see the docstring
        """See Objects; sends everything, even what is there, so that nobody can tell by the time it takes."""
        temporary = f"{self.prefix}/incoming/{uuid.uuid4().hex}"
        try:
            for path in sorted((folder / "files").iterdir()):
                self.files.put_file(str(path), f"{temporary}/{path.name}")
                self.files.copy(f"{temporary}/{path.name}", f"{self._key(digest)}/files/{path.name}")
        finally:
            self._removed(temporary)
        return True

    def remove(self, digest: str) -> None:
        """See Objects."""
        self._removed(self._key(digest))
        self.local.remove(digest)

    def folder(self, digest: str, files: Sequence[StoredFile]) -> Path:
        """See Objects; a copy that is not intact is fetched once more."""
        with suppress(StoreCorrupt):
            return self._touched(self.local.folder(digest, files))
        with self.fetching, incoming(self.root) as folder:
            for file in files:
                self._fetch(digest, file.name, folder / "files" / file.name)
            check_files(folder / "files", files)
            self._make_room(sum(file.size_bytes for file in files))
            self.local.put(digest, folder, ())
        return self.local.folder(digest, files)

    def digests(self) -> set[str]:
        """See Objects."""
        with suppress(FileNotFoundError):
            keys = self._keys(f"{self.prefix}/models")
            return {key.removeprefix(f"{self.prefix}/models/").partition("/")[0] for key in keys}
        return set()

    def _key(self, digest: str) -> str:
        return f"{self.prefix}/models/{digest}"

    def _fetch(self, digest: str, name: str, path: Path) -> None:
        with suppress(FileNotFoundError):  # check_files says it
            self.files.get_file(f"{self._key(digest)}/files/{name}", str(path))

    def _removed(self, prefix: str) -> None:
        with suppress(FileNotFoundError):
            keys = self._keys(prefix)
            if keys:
                self.files.rm(keys)

    def _keys(self, prefix: str) -> list[str]:
        """All below a prefix, as they are now."""
        self.files.invalidate_cache()
        return list(self.files.find(prefix))

    def _touched(self, folder: Path) -> Path:
        """The time of a copy's folder is that of its last use."""
        os.utime(folder)
        return folder

    def _make_room(self, size: int) -> None:
        """The copies that were not used for longest go."""
        copies = sorted((self.root / "models").iterdir(), key=lambda copy: (copy / "files").stat().st_mtime)
        sizes = {copy: sum(file.stat().st_size for file in (copy / "files").iterdir()) for copy in copies}
        for copy in copies:
            if sum(sizes.values()) + size <= self.cache_bytes:
                return
            self.local.remove(copy.name)
            del sizes[copy]


def objects_at(url: str, root: Path, cache_bytes: int, store_id: str) -> Objects:
    """The models' bytes: in ``root`` itself, or at a URL such as ``s3://bucket/prefix``."""
    if not url:
        return LocalObjects(root)
    cache = root / "cache"
    for name in ("models", "incoming"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    files, prefix = _answering(url, lambda: _file_system(url))
    remote = RemoteObjects(files, prefix, cache, cache_bytes, LocalObjects(cache))
    _answering(url, lambda: _take(remote, url, store_id))
    return remote


def _file_system(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    if protocol in BY_OBSTORE and not _known(protocol):
        with suppress(ImportError):
            from obstore.fsspec import register  # an extra

            register("gs" if protocol == "gcs" else protocol)
            url = url.replace("gcs://", "gs://", 1)
    files, prefix = fsspec.core.url_to_fs(url)
    return files, prefix.rstrip("/")


def _known(protocol: str) -> bool:
    """Whether a package that is installed knows it by itself, such as s3fs or gcsfs."""
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        return False
    return True


def _take(remote: RemoteObjects, url: str, store_id: str) -> None:
    """The bucket says whose it is, since a database that knows nothing of its models would remove them."""
    key = f"{remote.prefix}/store-id"
    if not remote.files.exists(key):
        remote.files.pipe_file(key, store_id.encode())
    elif remote.files.cat_file(key) != store_id.encode():
        raise ExplainsvcError(
            "these objects belong to another store", where=url, expected="a prefix for each store",
            to_do="Use the folder of that store, or another prefix",
        )  # fmt: skip
    remote._removed(f"{remote.prefix}/incoming")


def _answering(url: str, attempt: Callable[[], Any]) -> Any:
    """What an object store says at the start; whatever its library raises, it cannot be used."""
    try:
        return attempt()
    except ExplainsvcError:
        raise
    except Exception as error:
        raise ExplainsvcError(
            f"the object store cannot be used: {type(error).__name__}: {error}", where=url,
            expected="a URL of fsspec, such as s3://bucket/prefix", to_do="Check address, credentials and the extra (s3, gcs)",
        ) from error  # fmt: skip
