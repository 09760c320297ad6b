"""The file of principals: who they are, what proves it, what they may do and how much of it.

::

    [[principal]]
    name = "alice"
    scopes = ["upload", "explain", "audit"]
    tokens = ["sha256:9f86d0…"]                 # of bearer tokens, never the tokens themselves
    certificates = ["CN=alice", "URI=spiffe://example/alice"]
    quota_rate = 100                            # all three as the settings of these names, which they override
    quota_burst = 5000
    in_flight = 8
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explainsvc.errors import InvalidParameter, Violation
from explainsvc.service import sources
from explainsvc.service.principals import SCOPES, Principal

TOKEN = re.compile(r"sha256:([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""No colon: names that begin with `jwt:` and `cert:` are of principals that this file does not name."""
NUMBERS = ("quota_rate", "quota_burst", "in_flight")
KEYS = ("name", "tenant", "scopes", "tokens", "certificates", *NUMBERS)


@dataclass(frozen=True)
class Directory:
    """The principals of a file.

    Attributes:
        tokens: sha256 → principal.
        certificates: Identity of a client certificate → principal.
        numbers: Principal's name → its own settings of quotas.
    """

    tokens: Mapping[bytes, Principal] = field(default_factory=dict)
    certificates: Mapping[str, Principal] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of_token(self, token: str) -> Principal | None:
        """Whose token it is. All digests are compared, each in constant time: how long it takes tells nothing."""
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, principal in self.tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def read_directory(path: Path) -> Directory:
    """The principals of a file.

    Raises:
        InvalidParameter: Lists everything that is wrong with it.
    """
    keys = sources.read_file(path)
    entries = keys.get("principal", [])
    shaped = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    violations = list(sources.unknown_keys(keys, ["principal"]))
    violations += [] if shaped else [Violation("principal", "is no array of tables; write [[principal]] before each")]
    for number, entry in enumerate(entries if shaped else []):
        violations += (Violation(f"principal[{number}].{v.field}", v.description) for v in _wrong(entry))
    if not violations:
        violations = list(_twice(entries))
    if violations:
        raise InvalidParameter("the file of principals is not usable", where=str(path), violations=violations)
    return Directory(
        {bytes.fromhex(token.removeprefix("sha256:")): _principal(e) for e in entries for token in e.get("tokens", [])},
        {name: _principal(e) for e in entries for name in e.get("certificates", [])},
        {e["name"]: {key: float(e[key]) for key in NUMBERS if key in e} for e in entries},
    )


def _principal(entry: Mapping[str, Any]) -> Principal:
    return Principal(entry["name"], frozenset(entry["scopes"]), entry.get("tenant", ""))


def _wrong(entry: Mapping[str, Any]) -> Iterator[Violation]:
    """What is wrong with one entry; no value of it is repeated, for it may be a token."""
    yield from sources.unknown_keys(entry, KEYS)
    if not isinstance(entry.get("name"), str) or NAME.fullmatch(entry["name"]) is None:
        yield Violation("name", "expected 1 to 64 of the characters A-Z a-z 0-9 . _ @ -")
    if not isinstance(entry.get("tenant", "one"), str) or NAME.fullmatch(entry.get("tenant", "one")) is None:
        yield Violation("tenant", "expected 1 to 64 of the characters A-Z a-z 0-9 . _ @ -")
    for key in ("scopes", "tokens", "certificates"):
        value = entry.get(key, None if key == "scopes" else [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            yield Violation(key, "expected a list of texts")
            continue
        if key == "scopes" and not set(value) <= set(SCOPES):
            yield Violation(key, f"expected some of {', '.join(SCOPES)}")
        if key == "tokens" and not all(map(TOKEN.fullmatch, value)):
            yield Violation(key, "expected sha256: and 64 hexadecimal digits, not the token itself")
    for key in NUMBERS:
        number = entry.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= 0:
            yield Violation(key, "expected a number of at least 0")


def _twice(entries: list[dict[str, Any]]) -> Iterator[Violation]:
    """Names, tokens and certificates that are those of several principals."""
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(entries):
        of_entry = [("name", entry["name"])]
        of_entry += [(key, item) for key in ("tokens", "certificates") for item in entry.get(key, [])]
        for key, item in of_entry:
            if (key, item) in seen:
                yield Violation(f"principal[{number}].{key}", "is that of an entry before it")
            seen.add((key, item))
