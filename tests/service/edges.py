"""Principals, their tokens and keys, and plain calls to a server that asks who calls."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from google.protobuf import descriptor_pool
from google.rpc import error_details_pb2, status_pb2
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from explainsvc.service.config import Config
from explainsvc.service.health import Health, Readiness
from explainsvc.service.inference import InferenceService
from explainsvc.service.names import Names
from explainsvc.service.server import _add_protocols, _add_services
from explainsvc.service.status import DETAILS_KEY

ISSUER, AUDIENCE = "https://issuer.example", "explainsvc"
TOKENS = {name: f"token-of-{name}-0123456789abcdef" for name in ("alice", "bob", "reader", "poor", "thrifty", "root")}
SCOPES = {
    "alice": ["upload", "explain", "audit"], "bob": ["upload", "explain", "audit"], "reader": ["audit"],
    "poor": ["explain"], "thrifty": ["explain"], "root": ["admin"],
}  # fmt: skip
TENANTS = {"alice": "team", "poor": "team", "thrifty": "team"}
NUMBERS: dict[str, dict[str, float]] = {
    "poor": {"quota_rate": 2, "quota_burst": 5, "in_flight": 1},
    "thrifty": {"quota_rate": 0.001, "quota_burst": 5},
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def principals(path: Path, without: str = "", **certificates: str) -> Path:
    """The file of principals, but one."""
    lines = []
    for name, scopes in SCOPES.items():
        sha256 = hashlib.sha256(TOKENS[name].encode()).hexdigest()
        tokens = [] if name == without else [f"sha256:{sha256}"]
        entry = {"name": name, "scopes": scopes, "tokens": tokens, **NUMBERS.get(name, {})}
        entry |= {"tenant": TENANTS[name]} if name in TENANTS else {}
        entry |= {"certificates": [certificates[name]]} if name in certificates else {}
        lines += ["[[principal]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    path.write_text("\n".join(lines))
    return path


def key_set(path: Path, *names: str) -> Path:
    """The public halves of the keys of these names: "rsa", "ed"; and a secret that must not become a key to verify with."""
    keys: list[Any] = [{"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}]
    if "rsa" in names:
        keys.append(RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": "rsa", "alg": "RS256"})
    if "ed" in names:
        keys.append(OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True) | {"kid": "ed"})
    path.write_text(json.dumps({"keys": keys}))
    return path


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good token, changed."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "carol",
        "exp": now + 600,
        "nbf": now - 60,
        "scope": "explain audit",
        "group": "team",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def web_token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "rsa", **changes: Any) -> str:
    """A token of these claims."""
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid})


def bearer(token: str) -> list[tuple[str, str]]:
    """The metadata of a token."""
    return [("authorization", f"Bearer {token}")]


def outcome(call: Any, request: Any, metadata: list[tuple[str, str]] | None = None) -> tuple[str, str, bytes]:
    """Code, message and details of a call; ("OK", "", b"") when it is answered."""
    try:
        call(request, metadata=metadata or [], timeout=20)
    except grpc.RpcError as error:
        found: Any = error
        return found.code().name, found.details(), dict(found.trailing_metadata()).get(DETAILS_KEY, b"")
    return "OK", "", b""


def details(status: bytes) -> Mapping[str, Any]:
    """Name of a detail's type → the detail."""
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.ResourceInfo)
    found = {}
    for packed in status_pb2.Status.FromString(status).details:
        for kind in kinds:
            detail = kind()
            if packed.Unpack(detail):
                found[kind.__name__] = detail
    return found


@dataclass
class Recorder:
    """In the place of a server: the names of the services that are added to it."""

    services: list[str] = field(default_factory=list)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """See ``grpc.Server``."""
        self.services += [handler.service_name() for handler in handlers]

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """See there; they are handed over both ways."""


def served() -> Iterator[tuple[str, Any]]:
    """Every rpc that the server registers, by its full name, with the descriptor of its request."""
    recorder = Recorder()
    backend: Any = SimpleNamespace(config=Config())
    none: Any = None
    server: Any = recorder
    _add_services(server, backend, none, none)
    _add_protocols(server, InferenceService(Names(backend), dict), Health(Readiness({}), (), str))
    for name in recorder.services:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            yield f"/{name}/{method.name}", method.input_type
