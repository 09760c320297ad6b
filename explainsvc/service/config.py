"""The server's settings: flags, then ``EXPLAINSVC_*``, then a TOML file, then defaults; the same names everywhere."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explainsvc.errors import InvalidParameter, Violation
from explainsvc.jobs import Limits
from explainsvc.sandbox import Mode
from explainsvc.service import sources
from explainsvc.service.principals import SCOPES
from explainsvc.store import Retention

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures whose key to verify is no secret; "none" and HMAC are not among them."""


def setting(default: Any, text: str, *, minimum: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A field of ``Config``: its default or what makes it, what it means, and what it may be."""
    metadata = {"text": text, "minimum": minimum, "choices": choices}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_store() -> Path:
    """The user's data folder (XDG base directory specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "explainsvc"


def physical_memory() -> int:
    """Of this machine, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Config:
    """All settings; every one is a flag ``--name-with-dashes``, a variable ``EXPLAINSVC_NAME`` and a key of the file."""

    # where it listens, what it keeps, who computes
    address: str = setting("127.0.0.1:50551", "host:port to listen on; port 0: any")
    store: Path = setting(default_store, "folder of models and audits")
    objects: str = setting("", "URL for the bytes of models, such as s3://bucket/prefix; empty: the store's folder")
    model_bytes: int = setting(0, "of all models; the least recently used go; 0: no limit", minimum=0)
    cache_bytes: int = setting(10 * 2**30, "local copies of models at a URL", minimum=0)
    audit_seconds: float = setting(0.0, "that an ended audit is kept; 0: for good", minimum=0)
    retry_seconds: float = setting(86400.0, "that broken uploads and the answers to request ids are kept", minimum=0)
    unfinished_uploads: int = setting(64, "of one principal; 0: no limit", minimum=0)
    unfinished_upload_bytes: int = setting(2**34, "announced by these together; 0: no limit", minimum=0)
    workers: int = setting(2, "worker processes", minimum=1)
    queue: int = setting(64, "requests that may wait for a worker", minimum=0)
    job_seconds: float = setting(600.0, "longest time for one request, or one part of an audit", minimum=0.001)
    worker_memory_bytes: int = setting(physical_memory, "address space of a worker; 0: no limit", minimum=0)
    worker_threads: int = setting(0, "threads of a worker; 0: one a core", minimum=0)
    spare_workers: int = setting(1, "warm workers that wait for another to die", minimum=0)
    sandbox: str = setting("best_effort", "of the workers", choices=tuple(Mode))
    job_cpu_seconds: float = setting(0.0, "CPU time for one request; 0: job_seconds on every core", minimum=0)
    worker_rss_bytes: int = setting(
        lambda: physical_memory() // 3, "resident memory above which a worker is replaced after a request; 0: no limit", minimum=0
    )
    worker_cache_bytes: int = setting(2**30, "of the models that a worker keeps", minimum=0)
    devices: tuple[str, ...] = setting((), "CUDA devices: one worker each; none: the CPU, or the only device")
    gpu_mem_limit: int = setting(0, "bytes of a device for one worker; 0: no limit", minimum=0)
    max_batch: int = setting(16, "Explain requests that may be computed as one; 1: none", minimum=1)
    max_queue_delay_ms: float = setting(0.0, "that a request waits for others although a worker is idle", minimum=0)
    quarantine_kills: int = setting(5, "workers that a model may bring down before it is refused", minimum=1)
    quarantine_window_seconds: float = setting(600.0, "within which they are counted", minimum=0)
    quarantine_seconds: float = setting(3600.0, "for which the model is refused", minimum=0)
    max_upload_bytes: int = setting(2**31 - 1, "largest model, all files", minimum=1)
    max_message_bytes: int = setting(2**28, "largest request or response", minimum=2**20)
    grace_seconds: float = setting(30.0, "time to finish running requests at the end", minimum=0)
    drain_seconds: float = setting(0.0, "time between NOT_SERVING and the end of accepting, for balancers to notice", minimum=0)

    self_check: bool = setting(True, "`explainsvc serve` is ready once `explainsvc doctor` would find nothing wrong")

    # the port for probes, Prometheus and HTTP clients
    http_address: str = setting("", "host:port of /metrics, /healthz, /readyz and KServe over HTTP; empty: none")
    metrics_open: bool = setting(True, "/metrics asks for no credentials")

    # encryption
    tls_certificate: Path | None = setting(None, "certificate chain, PEM; read anew when it changes")
    tls_key: Path | None = setting(None, "its private key, PEM")
    tls_client_ca: Path | None = setting(None, "certificates, PEM, that must have signed every client's own (mutual TLS)")
    insecure: bool = setting(False, "listen beyond this machine without TLS, or without authentication")

    # who may do what
    principals: Path | None = setting(None, "TOML file of principals, their tokens, certificates, scopes and quotas")
    certificate_scopes: tuple[str, ...] = setting(
        ("upload", "explain", "audit"), "scopes of client certificates that the file of principals does not name", choices=SCOPES
    )
    jwt_keys: Path | None = setting(None, "JSON Web Key Set that signs the tokens of callers; read anew when it changes")
    jwt_keys_url: str = setting("", "https address of such a set, instead of a file; empty: nothing is fetched")
    jwt_issuer: str = setting("", "the `iss` that a JWT must have")
    jwt_audience: str = setting("", "the `aud` that a JWT must have")
    jwt_tenant: str = setting("", "the claim that names the tenant of a JWT; empty: each `sub` owns what it uploads")
    jwt_algorithms: tuple[str, ...] = setting(("RS256", "ES256", "EdDSA"), "signatures that are accepted", choices=ASYMMETRIC)
    reflection: str = setting("open", "who may ask for the API's description", choices=("open", "authenticated", "off"))

    # how much of it
    quota_rate: float = setting(0.0, "cost units a second for each principal; 0: no quota", minimum=0)
    quota_burst: float = setting(10_000.0, "cost units that a principal can save up", minimum=1)
    in_flight: int = setting(0, "calls of one principal at the same time; 0: no limit", minimum=0)
    max_concurrent_streams: int = setting(256, "calls on one connection at the same time", minimum=1)
    keepalive_seconds: float = setting(60.0, "between pings to a silent client", minimum=1)
    max_connection_age_seconds: float = setting(0.0, "after which a client must connect anew; 0: never", minimum=0)

    # what is written down
    audit_log: Path | None = setting(None, "file that gets a JSON line a call: who, what, digests, outcome")
    log_format: str = setting("text", "of the log on stderr", choices=("text", "json"))
    log_level: str = setting("info", "of the log on stderr", choices=("debug", "info", "warning", "error"))
    traces: bool = setting(False, "OpenTelemetry spans, sent where the OTEL_* variables say; needs the extra `otel`")

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
            sandbox=Mode(self.sandbox),
            devices=self.devices,
            gpu_memory_bytes=self.gpu_mem_limit,
            strikes=self.quarantine_kills,
            strike_seconds=self.quarantine_window_seconds,
            quarantine_seconds=self.quarantine_seconds,
            batch=self.max_batch,
            batch_seconds=self.max_queue_delay_ms / 1000,
            spans=self.traces,
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


FIELDS = {one.name: one for one in dataclasses.fields(Config)}


@dataclass(frozen=True)
class Effective:
    """The settings in force, and for each where it comes from: "default", a file, a variable or a flag."""

    config: Config
    origins: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Setting → value and origin, as they may be shown to anybody."""
        values = {name: sources.shown(getattr(self.config, name)) for name in FIELDS}
        return {name: {"value": value, "from": self.origins[name]} for name, value in values.items()}


def default(name: str) -> Any:
    """What a setting is when nobody sets it."""
    return getattr(Config(), name)


def add_options(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting, and one for the file."""
    parser.add_argument("--config", metavar="FILE.toml", help=f"a file of settings (or {sources.FILE})")
    for name, one in FIELDS.items():
        text = f"{one.metadata['text']} (default {sources.shown(default(name))})".replace("%", "%%")
        flag = {"nargs": "?", "const": "true"} if one.type == "bool" else {}
        parser.add_argument("--" + name.replace("_", "-"), metavar=_metavar(str(one.type)), help=text, **flag)  # type: ignore[arg-type]


def _metavar(kind: str) -> str:
    return {"tuple[str, ...]": "A,B", "Path | None": "PATH"}.get(kind, kind.upper())


def configured(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Config:
    """The settings in force; see :func:`effective`."""
    return effective(options, environment).config


def effective(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Effective:
    """The settings in force and their origins.

    Raises:
        InvalidParameter: Unknown names and values that cannot be read, all of them together.
    """
    name = getattr(options, "config", None) or environment.get(sources.FILE)
    path = None if name is None else Path(name)
    keys = {} if path is None else sources.read_file(path)
    violations = [*sources.unknown_keys(keys, FIELDS), *sources.unknown_variables(environment, FIELDS)]
    values: dict[str, Any] = {}
    origins = dict.fromkeys(FIELDS, "default")
    given = _Given(options, environment, keys, path or Path())
    for one in FIELDS.values():
        try:
            for origin, value in given.of(one):
                values[one.name], origins[one.name] = value, origin
        except ValueError as error:
            violations.append(Violation(one.name, str(error)))
    if violations:
        raise InvalidParameter("the server's settings are not usable", violations=violations)
    return Effective(Config(**values), origins)


@dataclass(frozen=True)
class _Given:
    """What the three places hold."""

    options: argparse.Namespace
    environment: Mapping[str, str]
    keys: Mapping[str, Any]
    path: Path

    def of(self, one: dataclasses.Field[Any]) -> Iterator[tuple[str, Any]]:
        """Origin and value of a setting, the strongest last."""
        kind, allowed = str(one.type), (one.metadata.get("minimum"), one.metadata.get("choices", ()))
        if one.name in self.keys:
            value = sources.from_toml(self.keys[one.name], kind, self.path.parent)
            yield f"file {self.path}", sources.within(value, *allowed)
        variable, flag = sources.PREFIX + one.name.upper(), "--" + one.name.replace("_", "-")
        for origin, text in ((variable, self.environment.get(variable)), (flag, getattr(self.options, one.name, None))):
            if text:  # an empty variable is how compose files and charts leave one out
                yield origin, sources.within(sources.from_text(text, kind), *allowed)
