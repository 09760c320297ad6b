"""How the task of an audit ended, as the store keeps it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from google.protobuf.json_format import MessageToDict

from explainsvc import store
from explainsvc.codec.errors import to_error
from explainsvc.errors import ExplainsvcError, JournalMismatch, ModelNotFound

LOG = logging.getLogger(__name__)


def state_of(task: asyncio.Task[bytes]) -> str:
    """How it ended."""
    if task.cancelled():
        return store.CANCELLED
    match task.exception():
        case None:
            return store.SUCCEEDED
        case JournalMismatch() | ModelNotFound():
            return store.ABORTED
    return store.FAILED


def error_fields(error: BaseException | None) -> dict[str, Any] | None:
    """An error as the store keeps it; one that is not ours says nothing but that it happened."""
    if error is None:
        return None
    if not isinstance(error, ExplainsvcError):
        LOG.error("unexpected error", exc_info=error)
        error = ExplainsvcError(f"an unexpected {type(error).__name__} on the server", to_do="Report it with the server's log")
    return MessageToDict(to_error(error), preserving_proto_field_name=True)
