"""What the store keeps, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from explainsvc.errors import AuditNotFound, ModelNotFound, UploadNotFound

MODEL_FILE = "model.onnx"
DIGEST = re.compile(r"[0-9a-f]{64}")
AUDIT_ID = re.compile(r"[0-9a-f]{32}")
STOPPED = {"reason": "INTERNAL", "what": "the server stopped while the audit ran", "to_do": "Create it again"}
RUNNING, SUCCEEDED, FAILED, CANCELLED, ABORTED = "running", "succeeded", "failed", "cancelled", "aborted"


@dataclass(frozen=True)
class Viewer:
    """Who asks: sees what belongs to ``name``, or ``everything``. What it stores belongs to ``name``."""

    name: str = ""
    everything: bool = False


SERVER = Viewer(everything=True)
"""The server itself."""


@dataclass(frozen=True)
class StoredFile:
    """One file of a model."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class StoredModel:
    """A model as one of its owners uploaded it; ``created`` in seconds since 1970, ``preprocessing`` a message or nothing."""

    digest: str
    name: str
    size_bytes: int
    created: float
    external_data: tuple[str, ...]
    preprocessing: bytes = b""


@dataclass(frozen=True)
class StoredAudit:
    """An audit's life; ``ended`` is None while it runs, ``error`` are the fields of the error that ended it.

    ``attempts`` have begun since a part of it was finished, when there were ``parts``.
    """

    audit_id: str
    state: str
    model_digest: str
    created: float
    ended: float | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    parts: int = 0
    owner: str = ""


@dataclass(frozen=True)
class Asked:
    """A request that its sender may repeat: the same id with the same ``body`` (a digest of it) has the same answer.

    Without a ``request_id`` nothing is remembered.
    """

    owner: str
    rpc: str
    request_id: str = ""
    body: str = ""


@dataclass(frozen=True)
class Retention:
    """How much is kept, and for how long; 0: no limit.

    Attributes:
        model_bytes: Of all models; those not used for longest go first, but none of an audit that runs.
        audit_seconds: After the end of an audit.
        retry_seconds: Uploads that were broken off, and answers to requests with an id.
        uploads: Begun and not ended, for each owner.
        upload_bytes: Announced by these together.
        cache_bytes: Local copies of models whose bytes lie elsewhere.
    """

    model_bytes: int = 0
    audit_seconds: float = 0.0
    retry_seconds: float = 86400.0
    uploads: int = 64
    upload_bytes: int = 2**34
    cache_bytes: int = 10 * 2**30


def no_model(digest: str) -> ModelNotFound:
    """The error of a digest under which the asker has nothing, whether or not others do."""
    return ModelNotFound(
        f"no model has the digest {digest[:80]!r}",
        where="digest",
        details={"name": digest[:80]},
        expected="the digest that UploadModel returned: 64 hexadecimal digits",
        to_do="Upload the model, or list the stored ones",
    )


def no_audit(audit_id: str) -> AuditNotFound:
    """The error of an id under which the asker has nothing, whether or not others do."""
    return AuditNotFound(
        f"no audit has the id {audit_id[:80]!r}",
        where="audit_id",
        details={"name": audit_id[:80]},
        expected="the audit_id of CreateAudit's first event: 32 hexadecimal digits",
    )


def no_upload(upload_id: str) -> UploadNotFound:
    """The error of an id under which the asker has no upload that was broken off."""
    return UploadNotFound(
        f"no upload that can go on has the id {upload_id[:80]!r}",
        where="upload_id",
        to_do="It may be complete: ask for the model; or send it from its beginning",
    )
