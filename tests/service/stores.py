"""Stores without a server: models put into them, and whether all that is in them is whole."""

from __future__ import annotations

import hashlib

from explainsvc.durable import write_synced
from explainsvc.errors import StoreCorrupt
from explainsvc.store import MODEL_FILE, SERVER, Asked, Store, StoredModel, Viewer, Wanted, sha256_of, stored_files

EVERY = 10**6


def put(kept: Store, data: bytes, owner: str = "", name: str = "m", created: float = 1.0, **request: str) -> str:
    """Store some bytes as a model; its digest."""
    digest = hashlib.sha256(data).hexdigest()
    asked = Asked(owner, "UploadModel", **request)
    with kept.incoming() as folder:
        write_synced(folder / "files" / MODEL_FILE, data)
        files = stored_files(folder / "files", sha256_of)
        model = StoredModel(digest, name, len(data), created, ())
        kept.models.keep(folder, model, files, asked, lambda model: model.digest.encode())
    return digest


def listed(kept: Store, owner: str | None = None) -> list[str]:
    """Digests of the models that an owner sees, or the server."""
    viewer = SERVER if owner is None else Viewer(owner)
    return [model.digest for model in kept.seen_by(viewer).models(Wanted(), None, EVERY)]


def torn(kept: Store) -> list[str]:
    """The models whose bytes are not those of their digest; read anew, whatever was read before."""
    found = []
    for digest in listed(kept):
        try:
            data = (kept.models.folder(digest, SERVER) / MODEL_FILE).read_bytes()
        except StoreCorrupt:
            found.append(digest)
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            found.append(digest)
    return found
