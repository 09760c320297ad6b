"""Signatures of reports: openssl's keys, DSSE's encoding, and nothing verifies that was changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.signing import _encoded, key_id, read_private_key, read_public_key, signed, verified

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PAYLOAD = b'{"format": "explainsvc.report/1"}'


def test_what_was_signed_verifies_and_nothing_else_does() -> None:
    """Another key, another payload or another type of payload is refused."""
    envelope = signed(PAYLOAD, KEY)
    assert verified(envelope, KEY.public_key()) == PAYLOAD
    with pytest.raises(InvalidInput, match="does not verify"):
        verified(envelope, Ed25519PrivateKey.generate().public_key())
    fields = json.loads(envelope)
    forged = fields | {"payload": base64.b64encode(PAYLOAD + b" ").decode()}
    with pytest.raises(InvalidInput, match="does not verify"):
        verified(json.dumps(forged).encode(), KEY.public_key())
    with pytest.raises(InvalidInput, match="expected application"):
        verified(json.dumps(fields | {"payloadType": "text/plain"}).encode(), KEY.public_key())


def test_the_encoding_is_that_of_dsse() -> None:
    """The example of the protocol's page: type http://example.com/HelloWorld, payload "hello world"."""
    assert _encoded("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize("text", [b"", b"[]", b'{"payloadType": 1}', b'{"payloadType": "a", "payload": "?", "signatures": []}'])
def test_what_is_no_envelope_is_refused(text: bytes) -> None:
    """By a typed error, whatever is wrong with it."""
    with pytest.raises(InvalidInput, match="not a DSSE envelope"):
        verified(text, KEY.public_key())


def test_keys_are_read_from_pem_files(tmp_path: Path) -> None:
    """PKCS 8 and SubjectPublicKeyInfo; other keys and other files are refused."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    plain, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    private.write_bytes(KEY.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(KEY.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    assert verified(signed(PAYLOAD, read_private_key(private)), read_public_key(public)) == PAYLOAD
    assert len(key_id(read_public_key(public))) == 64
    other = ec.generate_private_key(ec.SECP256R1())
    private.write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    for read, path in ((read_private_key, private), (read_public_key, private), (read_public_key, tmp_path / "none.pem")):
        with pytest.raises(InvalidParameter):
            read(path)
