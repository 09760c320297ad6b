"""Who calls: bearer tokens of the file of principals, JSON Web Tokens, client certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from explainsvc.connecting import is_local
from explainsvc.errors import ExplainsvcError, InvalidParameter, Unauthenticated, Violation
from explainsvc.service.config import Config
from explainsvc.service.directory import Directory, read_directory
from explainsvc.service.principals import ANYBODY, Principal
from explainsvc.service.reloading import Reloading

if TYPE_CHECKING:
    from explainsvc.service.web_tokens import WebTokens

NOBODY = Principal("", frozenset())
"""Who calls what is open to all, without credentials, where others have some: may do nothing else and owns nothing."""
LONGEST_TOKEN = 16_384
CREDENTIALS = "authorization: Bearer TOKEN, or a client certificate"


def asks_who(config: Config) -> bool:
    """Whether callers must say who they are."""
    return bool(config.principals or config.jwt_keys or config.jwt_keys_url or config.tls_client_ca)


@dataclass(frozen=True)
class Authenticator:
    """Tells principals by their credentials; made by ``authenticator``."""

    config: Config
    directory: Reloading[Directory] | None
    web_tokens: WebTokens | None

    def numbers(self, principal: str) -> Mapping[str, float]:
        """A principal's own settings of quotas."""
        return {} if self.directory is None else self.directory.current().numbers.get(principal, {})

    async def principal(self, authorization: Sequence[str], certificate: str) -> Principal:
        """Who sends these headers over a connection of this certificate ("" for none).

        Raises:
            Unauthenticated: Credentials are missing or wrong; the same error in both cases.
        """
        if not asks_who(self.config):
            return ANYBODY
        if authorization:
            return await self._by_token(authorization)
        if certificate:
            return self._by_certificate(certificate)
        raise refusal()

    async def _by_token(self, authorization: Sequence[str]) -> Principal:
        scheme, _, token = authorization[0].partition(" ")
        if len(authorization) > 1 or scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_TOKEN:
            raise refusal()
        found = None if self.directory is None else self.directory.current().of_token(token)
        if found is not None:
            return found
        if self.web_tokens is None or token.count(".") != 2:
            raise refusal()
        try:
            return await self.web_tokens.principal(token)
        except Unauthenticated:
            raise refusal() from None  # which of its claims is wrong is nothing for whoever forged it

    def _by_certificate(self, certificate: str) -> Principal:
        known = {} if self.directory is None else self.directory.current().certificates
        return known.get(certificate) or Principal(f"cert:{certificate}", frozenset(self.config.certificate_scopes))


def refusal() -> Unauthenticated:
    """The one error of all missing and wrong credentials."""
    to_do = "Ask whoever runs the server for a token"
    return Unauthenticated("the call carries no valid credentials", expected=CREDENTIALS, to_do=to_do)


def authenticator(config: Config) -> Authenticator:
    """What tells the principals of a server."""
    path = config.principals
    directory = None if path is None else Reloading([path], partial(read_directory, path))
    return Authenticator(config, directory, _web_tokens(config) if config.jwt_keys or config.jwt_keys_url else None)


def _web_tokens(config: Config) -> WebTokens:
    try:
        from explainsvc.service.web_tokens import WebTokens  # here, for PyJWT comes with an extra
    except ImportError as error:
        raise ExplainsvcError("JSON Web Tokens need PyJWT", where="jwt_keys", to_do="Install explainsvc[jwt]") from error
    return WebTokens(config)


def identity(names: Mapping[str, Sequence[str]]) -> str:
    """How a certificate is named: its first URI (SPIFFE), else its common name; "" when it has neither."""
    for kind in ("URI", "CN"):
        if names.get(kind):
            return f"{kind}={names[kind][0]}"
    return ""


def check(config: Config) -> None:
    """Settings that do not go together.

    Raises:
        InvalidParameter: All of them together.
    """
    violations = [Violation(name, text) for name, text in _conflicts(config)]
    if violations:
        raise InvalidParameter("the server's settings do not go together", violations=violations)


def _conflicts(config: Config) -> Iterator[tuple[str, str]]:
    if (config.tls_certificate is None) != (config.tls_key is None):
        yield "tls_key", "a certificate and its key are given together"
    if config.tls_client_ca is not None and config.tls_certificate is None:
        yield "tls_client_ca", "needs tls_certificate and tls_key"
    yield from _web_token_conflicts(config)
    for name in ("address", "http_address"):
        if getattr(config, name) and not is_local(getattr(config, name)) and not config.insecure:
            yield from _exposed(config, name)


def _web_token_conflicts(config: Config) -> Iterator[tuple[str, str]]:
    if config.jwt_keys is not None and config.jwt_keys_url:
        yield "jwt_keys_url", "is given beside jwt_keys; one of the two is enough"
    url = config.jwt_keys_url
    if url and not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        yield "jwt_keys_url", "expected an address that begins with https://"
    if config.jwt_keys is not None or url:
        for name in ("jwt_issuer", "jwt_audience", "jwt_algorithms"):
            if not getattr(config, name):
                yield name, "is empty; tokens of anybody, for anybody, would be accepted"


def _exposed(config: Config, name: str) -> Iterator[tuple[str, str]]:
    """What keeps an address that others can reach from being served."""
    asked = f"{getattr(config, name)} can be reached from other machines"
    if not asks_who(config):
        yield "insecure", f"{name} {asked} and nobody is asked who they are: set principals, jwt_keys or tls_client_ca"
    if config.tls_certificate is None:
        yield "insecure", f"{name} {asked} and nothing is encrypted: set tls_certificate and tls_key, or insecure = true"
