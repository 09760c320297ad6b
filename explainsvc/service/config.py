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
from explainsvc.sandbox import Mode


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
    workers: int = field(default=2, metadata={"text": "worker processes", "minimum": 1})
    queue: int = field(default=64, metadata={"text": "requests that may wait for a worker", "minimum": 0})
    job_seconds: float = field(
        default=600.0, metadata={"text": "longest time for one request, or one part of an audit", "minimum": 0.001}
    )
    worker_memory_bytes: int = field(
        default_factory=physical_memory, metadata={"text": "address space of a worker; 0: no limit", "minimum": 0}
    )
    worker_threads: int = field(default=0, metadata={"text": "threads of a worker; 0: one a core", "minimum": 0})
    spare_workers: int = field(default=1, metadata={"text": "warm workers that wait for another to die", "minimum": 0})
    sandbox: Mode = field(default=Mode.BEST_EFFORT, metadata={"text": "of the workers: required, best_effort or off"})
    job_cpu_seconds: float = field(
        default=0.0, metadata={"text": "CPU time for one request; 0: job_seconds on every core", "minimum": 0}
    )
    worker_rss_bytes: int = field(
        default_factory=lambda: physical_memory() // 3,
        metadata={"text": "resident memory above which a worker is replaced after a request; 0: no limit", "minimum": 0},
    )
    worker_cache_bytes: int = field(default=2**30, metadata={"text": "of the models that a worker keeps", "minimum": 0})
    devices: str = field(default="", metadata={"text": "CUDA devices, comma separated: one worker each, none on the CPU"})
    gpu_mem_limit: int = field(default=0, metadata={"text": "bytes of a device for one worker; 0: no limit", "minimum": 0})
    max_batch: int = field(default=16, metadata={"text": "Explain requests that may be computed as one; 1: none", "minimum": 1})
    max_queue_delay_ms: float = field(
        default=0.0, metadata={"text": "that a request waits for others although a worker is idle", "minimum": 0}
    )
    quarantine_kills: int = field(
        default=5, metadata={"text": "workers that a model may bring down before it is refused", "minimum": 1}
    )
    quarantine_window_seconds: float = field(default=600.0, metadata={"text": "within which they are counted", "minimum": 0})
    quarantine_seconds: float = field(default=3600.0, metadata={"text": "for which the model is refused", "minimum": 0})
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
            spares=self.spare_workers,
            cpu_seconds=self.job_cpu_seconds,
            rss_bytes=self.worker_rss_bytes,
            cache_bytes=self.worker_cache_bytes,
            sandbox=self.sandbox,
            devices=tuple(filter(None, self.devices.split(","))),
            gpu_memory_bytes=self.gpu_mem_limit,
            strikes=self.quarantine_kills,
            strike_seconds=self.quarantine_window_seconds,
            quarantine_seconds=self.quarantine_seconds,
            batch=self.max_batch,
            batch_seconds=self.max_queue_delay_ms / 1000,
        )


TYPES = {"str": str, "Path": Path, "int": int, "float": float, "Mode": Mode}


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
