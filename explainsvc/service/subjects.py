"""What a message is about, by the names of its fields: a model's digest, an audit's id, the sha256 of its inputs.

These may be written down; what the tensors hold, names, parameters and paths may not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from explainpb.inference.inference_service_pb2 import ModelInferRequest, ModelInferResponse
from explainpb.v1.tensor_pb2 import NamedImages, NamedTensor
from explainsvc.codec.infer_tensors import from_infer_inputs
from explainsvc.errors import InvalidInput

DIGEST = re.compile(r"[0-9a-f]{64}")
AUDIT_ID = re.compile(r"[0-9a-f-]{32,36}")
MODELS = "models/"
"""May stand before a digest where another protocol names a model."""
DIGEST_FIELDS = ("model_digest", "digest", "model_name", "name")
INSIDE = ("model", "audit", "started", "request")
"""Messages that a request or response wraps, and that are looked into."""


def model_digest(message: Any) -> str:
    """Of the model that it names; "" where it names none, or something that is no digest."""
    texts = [*_texts(message, *DIGEST_FIELDS), _parameter(message)]
    return next((digest for digest in (text.removeprefix(MODELS) for text in texts) if DIGEST.fullmatch(digest)), "")


def audit_id(message: Any) -> str:
    """Of the audit that it names, likewise."""
    texts = [*_texts(message, "audit_id"), *(text.removeprefix("audits/") for text in _texts(message, "name"))]
    return next((text for text in texts if AUDIT_ID.fullmatch(text)), "")


def _texts(message: Any, *names: str) -> Iterator[str]:
    fields = message.DESCRIPTOR.fields_by_name
    for name in names:
        if name in fields:
            yield str(getattr(message, name))
    for name in INSIDE:
        if name in fields and fields[name].message_type is not None and message.HasField(name):
            yield from _texts(getattr(message, name), *names)


def _parameter(message: Any) -> str:
    """The digest that an answer of the Open Inference Protocol has among its parameters."""
    if not isinstance(message, ModelInferResponse) or "model_digest" not in message.parameters:
        return ""
    return str(message.parameters["model_digest"].string_param)


def input_digests(message: Any) -> list[str]:
    """sha256 of the bytes of each tensor and of each picture file among the inputs of a request, in their order."""
    if isinstance(message, ModelInferRequest):
        return _infer_digests(message)
    fields = message.DESCRIPTOR.fields_by_name
    if "request" in fields and fields["request"].message_type is not None:
        return input_digests(message.request)
    tensors = [named.tensor for named in message.inputs] if _has(fields, "inputs", NamedTensor) else []
    images = [image for named in message.images for image in named.images] if _has(fields, "images", NamedImages) else []
    return [*map(_sha256, tensors), *(hashlib.sha256(image.data).hexdigest() for image in images)]


def _has(fields: Any, name: str, kind: Any) -> bool:
    return name in fields and fields[name].message_type is kind.DESCRIPTOR


def _infer_digests(message: ModelInferRequest) -> list[str]:
    """The same bytes have the same digest, typed or raw; none of what is not well formed."""
    try:
        return [_sha256(named.tensor) for named in from_infer_inputs(message)]
    except InvalidInput:
        return []


def _sha256(tensor: Any) -> str:
    sha256 = hashlib.sha256(tensor.data)
    for text in tensor.strings:
        sha256.update(len(text).to_bytes(8, "little") + text)
    return sha256.hexdigest()
