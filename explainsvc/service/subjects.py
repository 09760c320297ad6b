"""What a message is about, by the names of its fields: a model's digest, an audit's id, the sha256 of its inputs.

These may be written down; what the tensors hold, names, parameters and paths may not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

DIGEST = re.compile(r"[0-9a-f]{64}")
AUDIT_ID = re.compile(r"[0-9a-f-]{32,36}")
DIGEST_FIELDS = ("model_digest", "digest")
INSIDE = ("model", "audit", "started")
"""Messages that a request or response wraps, and that are looked into."""


def model_digest(message: Any) -> str:
    """Of the model that it names; "" where it names none, or something that is no digest."""
    return next((text for text in _texts(message, *DIGEST_FIELDS) if DIGEST.fullmatch(text)), "")


def audit_id(message: Any) -> str:
    """Of the audit that it names, likewise."""
    return next((text for text in _texts(message, "audit_id") if AUDIT_ID.fullmatch(text)), "")


def _texts(message: Any, *names: str) -> Iterator[str]:
    fields = message.DESCRIPTOR.fields_by_name
    for name in names:
        if name in fields:
            yield str(getattr(message, name))
    for name in INSIDE:
        if name in fields and fields[name].message_type is not None and message.HasField(name):
            yield from _texts(getattr(message, name), *names)


def input_digests(message: Any) -> list[str]:
    """sha256 of the bytes of each tensor among the inputs of a request, in their order."""
    fields = message.DESCRIPTOR.fields_by_name
    inputs = fields.get("inputs")
    if inputs is None or inputs.message_type is None or "tensor" not in inputs.message_type.fields_by_name:
        return []
    return [_sha256(named.tensor) for named in message.inputs]


def _sha256(tensor: Any) -> str:
    sha256 = hashlib.sha256(tensor.data)
    for text in tensor.strings:
        sha256.update(len(text).to_bytes(8, "little") + text)
    return sha256.hexdigest()
