"""Signatures of reports: Ed25519 (RFC 8032) in a DSSE envelope, which any tool of the supply-chain world verifies.

DSSE: https://github.com/secure-systems-lab/dsse, protocol and envelope v1.0. Needs the extra ``sign`` (the library
``cryptography``); nothing else of explainsvc does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainsvc.errors import ExplainsvcError, InvalidInput, InvalidParameter

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.explainsvc.report+json"


def signed(payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope of a report's JSON.

    Args:
        payload: The bytes of ``report.json``; they are in the envelope, so that no second file is needed to verify.
        key: As :func:`read_private_key` gives it.
    """
    signature = key.sign(_encoded(PAYLOAD_TYPE, payload))
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }
    return (json.dumps(envelope, indent=1) + "\n").encode()


def verified(envelope: bytes, key: Ed25519PublicKey) -> bytes:
    """The payload of an envelope that this key signed.

    Raises:
        InvalidInput: It is no envelope of a report, or none of its signatures is by this key over this payload.
    """
    from cryptography.exceptions import InvalidSignature

    kind, payload, signatures = _opened(envelope)
    for signature in signatures:
        try:
            key.verify(signature, _encoded(kind, payload))
        except InvalidSignature:
            continue
        return payload
    raise InvalidInput(
        "the signature does not verify", where="signature", expected=f"one by the key {key_id(key)}",
        to_do="The report was changed, or it was signed by another key",
    )  # fmt: skip


def _opened(envelope: bytes) -> tuple[str, bytes, list[bytes]]:
    try:
        fields: dict[str, Any] = json.loads(envelope)
        kind, payload = str(fields["payloadType"]), base64.b64decode(fields["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in fields["signatures"]]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise InvalidInput(
            f"is not a DSSE envelope ({type(error).__name__}: {error})", where="signature",
            to_do="Give the report.dsse.json that `explainsvc audit --sign-key` wrote",
        ) from error  # fmt: skip
    if kind != PAYLOAD_TYPE:
        raise InvalidInput(f"the envelope holds {kind}", where="signature", expected=PAYLOAD_TYPE)
    return kind, payload, signatures


def _encoded(kind: str, payload: bytes) -> bytes:
    """PAE, the pre-authentication encoding: what is signed says where each part ends."""
    return b" ".join([b"DSSEv1", str(len(kind.encode())).encode(), kind.encode(), str(len(payload)).encode(), payload])


def key_id(key: Ed25519PublicKey) -> str:
    """sha256 of the raw public key, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def read_private_key(path: str | Path) -> Ed25519PrivateKey:
    """An Ed25519 key from a PEM file (PKCS 8, without password), as ``openssl genpkey -algorithm ed25519`` writes it.

    Raises:
        InvalidParameter: There is no such key in the file.
    """
    _require_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def read_public_key(path: str | Path) -> Ed25519PublicKey:
    """An Ed25519 key from a PEM file, as ``openssl pkey -pubout`` writes it.

    Raises:
        InvalidParameter: There is no such key in the file.
    """
    _require_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidParameter(f"{path} cannot be read: {error.strerror}", where="key") from error


def _no_key(path: str | Path, kind: str) -> ExplainsvcError:
    return InvalidParameter(
        f"{path} holds no {kind} Ed25519 key", where="key", expected="a PEM file",
        to_do="openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem",
    )  # fmt: skip


def _require_library() -> None:
    try:
        import cryptography  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise InvalidParameter(
            "signatures need the library cryptography", where="key", to_do="pip install 'explainsvc[sign]'"
        ) from error
