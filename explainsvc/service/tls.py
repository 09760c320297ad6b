"""TLS of both ports. Certificates are read anew when their files change: the next handshake has the new ones."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from explainsvc.errors import InvalidParameter, Violation
from explainsvc.service.config import Config
from explainsvc.service.reloading import Reloading

NAMES = {"peer_uri": "URI", "x509_common_name": "CN"}
"""Properties of gRPC's connections that name a certificate."""


@dataclass(frozen=True)
class Material:
    """One state of the files: for gRPC as bytes, for HTTP as the standard library's context, which has proved that they fit."""

    grpc: Any
    context: ssl.SSLContext


def material(config: Config) -> Reloading[Material] | None:
    """What the settings name, kept current; None without TLS.

    Raises:
        InvalidParameter: It cannot be read, or certificate and key do not fit.
    """
    certificate, key, ca = config.tls_certificate, config.tls_key, config.tls_client_ca
    if certificate is None or key is None:
        return None
    paths = [path for path in (certificate, key, ca) if path is not None]
    try:
        return Reloading(paths, partial(_read, certificate, key, ca))
    except OSError as error:  # ssl.SSLError is one
        violation = Violation("tls_certificate", f"{error.strerror or error}")
        raise InvalidParameter("the certificates cannot be used", violations=[violation]) from error


def _read(certificate: Path, key: Path, ca: Path | None) -> Material:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key, password="")  # a key that needs one is refused, not asked about
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_OPTIONAL  # over HTTP: probes have none, and whatever is no probe is asked who it is
    roots = None if ca is None else ca.read_bytes()
    return Material(grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())], roots), context)


def grpc_credentials(material: Reloading[Material]) -> grpc.ServerCredentials:
    """For the gRPC port; asks for a client certificate where a CA is set."""
    first = material.current()
    required = first.context.verify_mode != ssl.CERT_NONE
    return grpc.dynamic_ssl_server_credentials(first.grpc, lambda: material.current().grpc, required)


def http_context(material: Reloading[Material]) -> ssl.SSLContext:
    """For the HTTP port: a context that hands each handshake over to the current one."""

    def current(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = material.current().context

    # A context of its own: the hand-over would otherwise replace the settings of the very context that it is set on.
    state = material.current()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = state.context.verify_mode
    context.sni_callback = current
    return context


def grpc_names(properties: Mapping[str, Sequence[bytes]]) -> dict[str, list[str]]:
    """The names of a client's certificate, of what gRPC knows of a connection."""
    return {kind: [name.decode() for name in properties.get(key, ())] for key, kind in NAMES.items()}


def http_names(certificate: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """The same, of what the standard library knows of it."""
    if certificate is None:
        return {}
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    return {
        "URI": [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"],
        "CN": [value for kind, value in subject if kind == "commonName"],
    }
