"""The server's settings: flags, then ``EXPLAINSVC_*`` in the environment, then defaults; the same names everywhere."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explainsvc.errors import InvalidParameter, Violation
from explainsvc.jobs import Limits
from explainsvc.store import Retention


def default_store() -> Path:
    """The user's data folder (XDG base directory specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "explainsvc"


def physical_memory() -> int:
    """Of this machine, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Config:
    """All settings; every one is a flag ``--name-with-dashes`` and a variable ``EXPLAINSVC_NAME``."""

    address: str = field(default="127.0.0.1:50551", metadata={"text": "host:port to listen on; port 0: any"})
    store: Path = field(default_factory=default_store, metadata={"text": "folder of models and audits"})
    objects: str = field(
        default="", metadata={"text": "URL for the bytes of models, such as s3://bucket/prefix; empty: the store's folder"}
    )
    model_bytes: int = field(default=0, metadata={"text": "of all models; the least recently used go; 0: no limit", "minimum": 0})
    cache_bytes: int = field(default=10 * 2**30, metadata={"text": "local copies of models at a URL", "minimum": 0})
    audit_seconds: float = field(default=0.0, metadata={"text": "that an ended audit is kept; 0: for good", "minimum": 0})
    retry_seconds: float = field(
        default=86400.0, metadata={"text": "that broken uploads and the answers to request ids are kept", "minimum": 0}
    )
    unfinished_uploads: int = field(default=64, metadata={"text": "of one principal; 0: no limit", "minimum": 0})
    unfinished_upload_bytes: int = field(
        default=2**34, metadata={"text": "announced by these together; 0: no limit", "minimum": 0}
    )
    workers: int = field(default=2, metadata={"text": "worker processes", "minimum": 1})
    queue: int = field(default=64, metadata={"text": "requests that may wait for a worker", "minimum": 0})
    job_seconds: float = field(
        default=600.0, metadata={"text": "longest time for one request, or one part of an audit", "minimum": 0.001}
    )
    worker_memory_bytes: int = field(
        default_factory=physical_memory, metadata={"text": "address space of a worker; 0: no limit", "minimum": 0}
    )
    worker_threads: int = field(default=0, metadata={"text": "threads of a worker; 0: one a core", "minimum": 0})
    max_upload_bytes: int = field(default=2**31 - 1, metadata={"text": "largest model, all files", "minimum": 1})
    max_message_bytes: int = field(default=2**28, metadata={"text": "largest request or response", "minimum": 2**20})
    grace_seconds: float = field(default=30.0, metadata={"text": "time to finish running requests at the end", "minimum": 0})

    def limits(self) -> Limits:
        """What concerns the workers."""
        return Limits(
            workers=self.workers,
            queue=self.queue,
            job_seconds=self.job_seconds,
            memory_bytes=self.worker_memory_bytes,
            threads=self.worker_threads,
        )

    def retention(self) -> Retention:
        """What concerns the store."""
        return Retention(
            model_bytes=self.model_bytes,
            audit_seconds=self.audit_seconds,
            retry_seconds=self.retry_seconds,
            uploads=self.unfinished_uploads,
            upload_bytes=self.unfinished_upload_bytes,
            cache_bytes=self.cache_bytes,
        )


TYPES = {"str": str, "Path": Path, "int": int, "float": float}


def add_options(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting."""
    for one in dataclasses.fields(Config):
        default = one.default if one.default is not dataclasses.MISSING else getattr(Config(), one.name)
        text = f"{one.metadata['text']} (default {default})"
        parser.add_argument("--" + one.name.replace("_", "-"), metavar=str(one.type).upper(), help=text)


def configured(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Config:
    """The settings in force; what cannot be read is InvalidParameter, all of it together."""
    given: dict[str, Any] = {}
    violations = []
    for one in dataclasses.fields(Config):
        text = getattr(options, one.name, None) or environment.get(f"EXPLAINSVC_{one.name.upper()}")
        if text is None:
            continue
        try:
            given[one.name] = _read(text, str(one.type), one.metadata.get("minimum"))
        except ValueError as error:
            violations.append(Violation(one.name, str(error)))
    if violations:
        raise InvalidParameter("the server's settings are not usable", violations=violations)
    return Config(**given)


def _read(text: str, kind: str, minimum: float | None) -> Any:
    try:
        value = TYPES[kind](text)
    except ValueError:
        raise ValueError(f"{text!r} is no {kind}") from None
    if minimum is not None and value < minimum:
        raise ValueError(f"{text} is too small; expected at least {minimum:g}")
    return value
