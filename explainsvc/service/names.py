"""Models by the names that other protocols have for them, and what goes into them and comes out."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from explainpb.worker.v1.worker_pb2 import SignatureWork
from explainsvc.codec.signatures import Signature, from_signature
from explainsvc.errors import InvalidRequest, ModelNotFound, Violation
from explainsvc.service.backend import Backend
from explainsvc.service.subjects import DIGEST

COLLECTION = "models/"
VERSION = "1"
"""Of every model: its bytes never change."""
KEPT = 1024


@dataclass(eq=False)
class Names:
    """What a server knows of models by name.

    Attributes:
        backend: The store and the workers.
        signatures: By digest, the latest ``KEPT``.
    """

    backend: Backend
    signatures: OrderedDict[str, Signature] = field(default_factory=OrderedDict)

    def digest(self, name: str, version: str = "") -> str:
        """Of one of the caller's models: a digest, with or without ``models/`` before it, or a name that only one of them has.

        Raises:
            ModelNotFound: There is none, or not in this version.
            InvalidRequest: Several have this name.
        """
        digest = name.removeprefix(COLLECTION)
        if version not in ("", VERSION):
            raise _missing(name, f"version {VERSION}")
        if DIGEST.fullmatch(digest):
            return self.backend.model(digest).digest
        found = self.backend.store.named(name, 2) if name else []
        if len(found) > 1:
            wrong = Violation("model_name", f"{name[:80]!r} is the name of several of the caller's models")
            raise InvalidRequest("the model is ambiguous", violations=[wrong], to_do="Name it by its digest")
        if not found:
            raise _missing(name, "a digest that UploadModel returned, or the name of one model")
        return found[0]

    def ready(self, name: str, version: str = "") -> bool:
        """Whether the caller can have answers of a model."""
        try:
            digest = self.digest(name, version)
        except (ModelNotFound, InvalidRequest):
            return False
        return digest not in self.backend.pool.quarantine.models()

    async def signature(self, digest: str) -> Signature:
        """Of one of the caller's models; ModelNotFound. A worker has to read it, once."""
        self.backend.model(digest)
        if digest not in self.signatures:
            reply = await self.backend.result(digest, signature=SignatureWork())
            self.signatures[digest] = from_signature(reply.signature)
            if len(self.signatures) > KEPT:
                self.signatures.popitem(last=False)
        return self.signatures[digest]


def _missing(name: str, expected: str) -> ModelNotFound:
    return ModelNotFound(
        f"no model is called {name[:80]!r}", where="model_name", expected=expected, details={"name": name[:80]},
        to_do="Upload the model, or list the stored ones",
    )  # fmt: skip
