"""JSON Web Tokens (RFC 7519) by PyJWT: signed by a key of a set, by an algorithm of a list, for this audience, in time."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import jwt

from explainsvc.errors import InvalidParameter, Unauthenticated
from explainsvc.service.config import Config
from explainsvc.service.principals import SCOPES, Principal
from explainsvc.service.reloading import Reloading

LOG = logging.getLogger(__name__)
REQUIRED = ["exp", "iss", "aud", "sub"]
KEY_TYPES = ("RSA", "EC", "OKP")
"""Of keys whose public half is enough to verify; a shared secret in the set is left out."""
LEEWAY_SECONDS = 30.0
FETCH_SECONDS = 300.0
"""A set that was fetched is good for so long."""
AGAIN_SECONDS = 30.0
"""A token that names an unknown key makes the server fetch no more often than this."""
FETCH_TIMEOUT_SECONDS = 5.0
Keys = Mapping[str, Any]
"""Key id → ``jwt.PyJWK``."""


def keys_of(document: Mapping[str, Any]) -> Keys:
    """The keys of a JSON Web Key Set (RFC 7517) that can verify; ValueError when there is none."""
    usable = [key for key in document.get("keys", []) if isinstance(key, dict) and key.get("kty") in KEY_TYPES]
    try:
        return {key.key_id or "": key for key in jwt.PyJWKSet(usable)}
    except jwt.PyJWTError as error:
        raise ValueError(f"no usable key: {error}") from error


class FileKeys:
    """A set in a file."""

    def __init__(self, config: Config) -> None:
        path = config.jwt_keys
        assert path is not None, "the settings were checked"
        try:
            self._keys = Reloading([path], lambda: keys_of(json.loads(path.read_bytes())))
        except (OSError, ValueError) as error:
            raise InvalidParameter(f"the key set cannot be read: {error}", where="jwt_keys") from error

    async def get(self, key_id: str) -> Any:
        """The key of an id, or None."""
        return self._keys.current().get(key_id)


class FetchedKeys:
    """A set behind an address, fetched when it is first needed."""

    def __init__(self, config: Config) -> None:
        self._client = jwt.PyJWKClient(config.jwt_keys_url, cache_keys=False, timeout=FETCH_TIMEOUT_SECONDS)
        self._keys: Keys = {}
        self._fetched = self._tried = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def get(self, key_id: str) -> Any:
        """The key of an id, or None."""
        async with self._one_at_a_time:
            now = time.monotonic()
            stale = now - self._fetched > FETCH_SECONDS or key_id not in self._keys
            if stale and now - self._tried > AGAIN_SECONDS:
                self._tried = now
                await self._fetch()
        return self._keys.get(key_id)

    async def _fetch(self) -> None:
        """Where that fails, the keys that are known stay good until it does not."""
        try:
            self._keys = keys_of(await asyncio.to_thread(self._client.fetch_data))
            self._fetched = time.monotonic()
        except (jwt.PyJWTError, ValueError) as error:
            LOG.error("the key set could not be fetched: %s", error)


class WebTokens:
    """Principals by their JWT."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys: FileKeys | FetchedKeys = FetchedKeys(config) if config.jwt_keys_url else FileKeys(config)

    async def principal(self, token: str) -> Principal:
        """Whom the token is about, once everything about it has been checked; Unauthenticated when anything is wrong."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.get(str(header.get("kid", "")))
            claims = self._claims(token, key)
            tenant = self._tenant(claims)
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated("the token is not valid") from error
        return Principal(f"jwt:{claims['sub']}", frozenset(_scopes(claims)) & frozenset(SCOPES), tenant)

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        """ValueError where the setting names a claim that the token lacks: its bearer belongs to nobody's tenant."""
        tenant = claims.get(self._config.jwt_tenant, "") if self._config.jwt_tenant else ""
        if self._config.jwt_tenant and not (isinstance(tenant, str) and tenant):
            raise ValueError("the token names no tenant")
        return str(tenant)

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        if key is None:
            raise ValueError("no key has this id")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(self._config.jwt_algorithms),
            audience=self._config.jwt_audience,
            issuer=self._config.jwt_issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED},
        )
        return claims


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """RFC 8693 writes them as one text, others as a list or as `scp`."""
    scopes = claims.get("scope", claims.get("scp", ""))
    return scopes.split() if isinstance(scopes, str) else [item for item in scopes if isinstance(item, str)]
