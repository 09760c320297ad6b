"""What a job raised in a worker, as the reply that its caller gets."""

from __future__ import annotations

import logging

from explainpb.worker.v1.worker_pb2 import Reply
from explainsvc.codec.errors import to_error
from explainsvc.errors import ExplainsvcError, WorkerOutOfMemory

LOG = logging.getLogger(__name__)
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory")
"""How onnxruntime says that an allocation failed."""


def failed(error: Exception, kind: str) -> Reply:
    """The error of a kind of work; one that is not ours says nothing but its type, and the log the rest."""
    if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
        return _out_of_memory()
    if isinstance(error, ExplainsvcError):
        return Reply(error=to_error(error))
    LOG.error("%s failed", kind, exc_info=error)
    unexpected = ExplainsvcError(f"an unexpected {type(error).__name__} in {kind}", to_do="Report it with the server's log")
    return Reply(error=to_error(unexpected))


def _out_of_memory() -> Reply:
    error = WorkerOutOfMemory(
        "the work needs more memory than a worker may use",
        to_do="Ask for less (a smaller batch, fewer samples), or raise worker_memory_bytes of the server",
    )
    return Reply(error=to_error(error))
