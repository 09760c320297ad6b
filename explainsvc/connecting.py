"""How a client reaches a server: its address, whom it trusts to be it, and who it says to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

import grpc

from explainsvc.errors import InvalidParameter

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 2000),  # a server that starts again is found again soon
]


@dataclass(frozen=True)
class Connection:
    """An address, and what a secured server wants beside it; files as their bytes, PEM.

    Attributes:
        target: ``host:port``, or any other target of gRPC.
        tls: Whether the server must prove who it is. So it must wherever one of the next three is given.
        ca: The authorities that may have signed its certificate; empty: those of the system.
        certificate: Our own certificate chain, for mutual TLS; with ``key``.
        key: Its private key.
        token: Sent as ``authorization: Bearer …`` with every call: over TLS, or to this machine itself.
    """

    target: str
    tls: bool = False
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)

    def channel(self) -> grpc.Channel:
        """An open channel.

        Raises:
            InvalidParameter: A certificate without its key or the other way round, or a token that strangers could read.
        """
        credentials = self._credentials()
        if credentials is None:
            return grpc.insecure_channel(self.target, OPTIONS)
        return grpc.secure_channel(self.target, credentials, OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials | None:
        transport = self._transport()
        if not self.token:
            return transport
        if transport is None:
            transport = self._loopback()
        return grpc.composite_channel_credentials(transport, grpc.access_token_call_credentials(self.token))

    def _transport(self) -> grpc.ChannelCredentials | None:
        if bool(self.certificate) != bool(self.key):
            raise InvalidParameter("a client's certificate and its private key go together", expected="both, or neither")
        if self.tls or self.ca or self.certificate:
            return grpc.ssl_channel_credentials(self.ca or None, self.key or None, self.certificate or None)
        return None

    def _loopback(self) -> grpc.ChannelCredentials:
        """What lets gRPC send a token without TLS: it looks by itself whether the other end is this machine."""
        if not is_local(self.target):
            raise InvalidParameter(
                "a token is not sent over a connection that others can read",
                where=self.target,
                expected="TLS, or a server on this machine",
                to_do="Name the authority of the server's certificate (--ca), or --tls for those of the system",
            )
        return grpc.local_channel_credentials()


def is_local(address: str) -> bool:
    """Whether only this machine can reach it."""
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith(("unix:", "unix-abstract:")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
