"""Where settings come from: texts of flags and variables, values of a TOML file; and which variables are known at all."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from explainsvc.errors import InvalidParameter, Violation
from explainsvc.graph.limits import Limits

PREFIX = "EXPLAINSVC_"
FILE = f"{PREFIX}CONFIG"
OWN = ("THREADS", "SESSION_CACHE_BYTES", "PROVIDERS", "DEVICE", "TOKEN")
LIBRARY = frozenset({f"{PREFIX}{name}" for name in OWN} | set(Limits().environment()))
"""Variables that the library or the command line reads itself, with and without a server."""
LINK = re.compile(r"EXPLAINSVC\w*?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes and Docker put into every container beside a service that is called explainsvc: nobody's settings."""
LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S*|\d+|[\d.]+|[\da-f:]+|tcp|udp|sctp")
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+@|(?<=\?)\S+")


def read_file(path: Path) -> dict[str, Any]:
    """The keys of a TOML file; InvalidParameter when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidParameter(f"the file of settings cannot be read: {reason}", where=str(path), expected="TOML") from error


def unknown_keys(keys: Iterable[str], known: Iterable[str]) -> Iterator[Violation]:
    """Those of a file that are no settings."""
    names = list(known)
    for key in keys:
        if key not in names:
            yield Violation(key, f"is no setting{nearest(key, names)}")


def unknown_variables(environment: Mapping[str, str], known: Iterable[str]) -> Iterator[Violation]:
    """``EXPLAINSVC_*`` that nobody reads."""
    names = [*(PREFIX + name.upper() for name in known), FILE, *LIBRARY]
    for name, value in environment.items():
        link = LINK.fullmatch(name) is not None and LINK_VALUE.fullmatch(value) is not None
        if name.startswith(PREFIX) and name not in names and not link:
            yield Violation(name, f"is no variable of explainsvc{nearest(name, names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the known name that a misspelt one resembles; "" where there is none."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def shown(value: object) -> object:
    """A setting as it may be printed: plain JSON, and no password or query of an address."""
    if isinstance(value, tuple):
        return list(value)
    return CREDENTIALS.sub("…", str(value)) if isinstance(value, (str, Path)) else value


def _no(value: object, kind: str) -> ValueError:
    return ValueError(f"{shown(value)!r} is no {kind}")


def _bool(text: str) -> bool:
    if text.lower() not in WORDS:
        raise _no(text, "bool: true or false")
    return WORDS[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _path(text: str) -> Path | None:
    return Path(text) if text else None


FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "str": str, "Path": Path, "Path | None": _path, "int": int, "float": float, "bool": _bool, "tuple[str, ...]": _names,
}  # fmt: skip
"""Type of a setting → its value from a flag or a variable."""
IN_TOML: dict[str, Any] = {
    "str": str, "Path": str, "Path | None": str, "int": int, "float": (int, float), "bool": bool, "tuple[str, ...]": list,
}  # fmt: skip


def from_text(text: str, kind: str) -> Any:
    """A value of a flag or variable; ValueError says what it is not."""
    try:
        return FROM_TEXT[kind](text)
    except ValueError as error:
        raise _no(text, kind) from error


def from_toml(value: Any, kind: str, folder: Path) -> Any:
    """A value of a file; a relative path in it counts from the file's own folder."""
    boolean = isinstance(value, bool) and kind != "bool"
    if boolean or not isinstance(value, IN_TOML.get(kind, str)):
        raise _no(value, kind)
    if kind not in IN_TOML:
        return from_text(value, kind)
    if kind == "tuple[str, ...]":
        if not all(isinstance(item, str) for item in value):
            raise _no(value, kind)
        return tuple(value)
    if kind.startswith("Path"):
        return folder / value if value else _path(value)
    return float(value) if kind == "float" else value


def within(value: Any, minimum: float | None, choices: tuple[str, ...]) -> Any:
    """The value, if it is one of those allowed."""
    if minimum is not None and not value >= minimum:  # NaN is not at least anything
        raise ValueError(f"{value:g} is too small; expected at least {minimum:g}")
    strange = [item for item in (value if isinstance(value, tuple) else (value,)) if choices and item not in choices]
    if strange:
        raise ValueError(f"{strange[0]!r} is none of {', '.join(choices)}")
    return value
