"""What is written down: the log on stderr, text or JSON, a line a call; and the audit log, a JSON line a call in a file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from explainsvc.errors import ExplainsvcError
from explainsvc.service.calls import IN_FORCE, Call, Silent
from explainsvc.service.config import Config
from explainsvc.service.subjects import audit_id, input_digests, model_digest

MOST_INPUTS = 1000
LOG = logging.getLogger(__name__)
TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, request_id, and whatever a call's line adds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": IN_FORCE.get(),
        }
        fields |= record.__dict__.get("call", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def configure(config: Config) -> None:
    """The log of a server's own process; a program that embeds the server keeps its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=config.log_level.upper(), handlers=[handler])


class CallLog(Silent):
    """A line a call in the log; calls that are open to all, such as probes, only where debugging is on."""

    def ended(self, call: Call) -> None:
        """Who called what, how it ended, how long it took."""
        level = logging.DEBUG if call.open else logging.INFO
        if not LOG.isEnabledFor(level):
            return
        facts = {
            "rpc": call.rpc,
            "code": call.code,
            "milliseconds": round(1000 * call.seconds, 3),
            "principal": call.principal.name,
            "request_id": call.request_id,
        }
        LOG.log(level, "%(rpc)s %(code)s %(milliseconds).1f ms %(principal)s %(request_id)s", facts, extra={"call": facts})


@dataclass(eq=False)
class Appended:
    """A file that only grows, and that nobody else reads; opened anew once it has been moved away."""

    path: Path
    file: int = -1
    place: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._open()

    def write(self, line: str) -> None:
        """A line of its own, in one piece; OSError."""
        if self.place != _place(self.path):
            before = self.file
            self._open()
            os.close(before)
        os.write(self.file, f"{line}\n".encode())

    def _open(self) -> None:
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.place = _place(self.path)

    def close(self) -> None:
        """Closes it."""
        os.close(self.file)


def _place(path: Path) -> tuple[int, int]:
    """What tells a file from another of its name."""
    try:
        stat = os.stat(path)  # at every call; a path's own way is three times as long
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


class AuditLog(Silent):
    """Append-only: time, principal, rpc, request id, digests of model and inputs, outcome, milliseconds. Nothing else ever.

    The file may be moved away by logrotate; it is opened anew then. Large inputs are digested while a worker computes.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = Appended(path)
        except OSError as error:
            raise ExplainsvcError(f"the audit log cannot be written: {error.strerror}", where="audit_log") from error
        self._undigested: defaultdict[Call, list[Any]] = defaultdict(list)

    def received(self, call: Call, message: Any) -> None:
        """What the call is about."""
        digest = model_digest(message)
        call.model_digest = call.model_digest or digest
        if digest not in ("", call.model_digest, *call.other_models) and len(call.other_models) < MOST_INPUTS:
            call.other_models.append(digest)
        call.audit_id = call.audit_id or audit_id(message)
        self._undigested[call].append(message)
        asyncio.get_running_loop().call_soon(self._digest, call)  # once the job is on its way, and whoever waits for it waits

    def _digest(self, call: Call) -> None:
        for message in self._undigested.pop(call, ()):
            if len(call.inputs) < MOST_INPUTS:  # a stream of explanations has no end of them
                call.inputs.extend(input_digests(message))

    def sent(self, call: Call, message: Any) -> None:
        """What an upload or a new audit has become."""
        call.model_digest = call.model_digest or model_digest(message)
        call.audit_id = call.audit_id or audit_id(message)

    def ended(self, call: Call) -> None:
        """Its line; none for what is open to all."""
        self._digest(call)
        if call.open:
            return
        try:
            self._file.write(json.dumps(_line(call), ensure_ascii=False))
        except OSError as error:  # a full disk, for instance: the call is over, and the server goes on
            LOG.error("the audit log cannot be written: %s", error.strerror)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _line(call: Call) -> dict[str, Any]:
    return {
        "time": _time(datetime.now(UTC).timestamp()),
        "principal": call.principal.name,
        "rpc": call.rpc,
        "request_id": call.request_id,
        "model_digest": call.model_digest,
        "other_model_digests": call.other_models,
        "audit_id": call.audit_id,
        "input_sha256": call.inputs,
        "code": call.code,
        "milliseconds": round(1000 * call.seconds, 3),
    }
