"""Every error a user can meet: what went wrong, where, what was expected, what to do.

The tree (``REASON`` is the stable word that travels in ``google.rpc.ErrorInfo``)::

ExplainsvcError
├── ModelMalformed            MODEL_MALFORMED            not ONNX, truncated, refused by the checker
├── ModelUnsupported          MODEL_UNSUPPORTED          valid ONNX that onnxruntime cannot run here
├── ModelLimitExceeded        MODEL_LIMIT_EXCEEDED       over a static limit
├── ExternalDataForbidden     EXTERNAL_DATA_FORBIDDEN    external data missing or pointing outside
├── UploadDigestMismatch      UPLOAD_DIGEST_MISMATCH     bytes received are not the bytes announced
├── InvalidInput              INVALID_INPUT              tensors of a request (name, dtype, shape, NaN)
├── InvalidParameter          INVALID_PARAMETER          unknown or ill-typed method/check parameter
├── UnknownMethod             UNKNOWN_METHOD             no such method or check
├── InvalidRequest            INVALID_REQUEST            several of the three above, or fields that exclude one another
├── TargetOutOfRange          TARGET_OUT_OF_RANGE        target index outside the output
├── NotDifferentiable         OPERATOR_NOT_DIFFERENTIABLE  a node on the path has no rule
├── NothingToDifferentiate    INPUT_NOT_DIFFERENTIABLE   no gradient can reach the wanted input
├── MethodNotApplicable       METHOD_NOT_APPLICABLE      the method needs something the model lacks
├── NotTrainable              NOT_TRAINABLE              nothing in it learns, or torch does not compute the same
├── ExtraMissing              EXTRA_MISSING              the library behind it is not installed here
├── PassChangedFunction       PASS_CHANGED_FUNCTION      a rewritten graph disagrees with the model
├── ModelQuarantined          MODEL_QUARANTINED          it brought down worker after worker
├── ModelNotFound             MODEL_NOT_FOUND
├── AuditNotFound             AUDIT_NOT_FOUND
├── UploadNotFound            UPLOAD_NOT_FOUND           no upload that can go on has this id
├── RequestIdReused           REQUEST_ID_REUSED          an id was given to two different requests
├── StoreFull                 STORE_FULL                 no room for this, now or ever
├── StoreCorrupt              STORE_CORRUPT              stored bytes are no longer what they were
├── JournalMismatch           JOURNAL_MISMATCH           the journal of an audit is that of another question
├── Unauthenticated           UNAUTHENTICATED            the call does not say who makes it, or not truly
├── NotAllowed                SCOPE_MISSING              its principal may not do this
├── QuotaExceeded             QUOTA_EXCEEDED             its principal has used up what it may
├── QueueFull                 QUEUE_FULL                 come back later
├── ServerStopping            SERVER_STOPPING            the server ends; what it accepted goes on when it runs again
├── WorkerCrashed             WORKER_CRASHED             the compute process died
├── WorkerOutOfMemory         WORKER_OUT_OF_MEMORY
└── WorkerTimedOut            WORKER_TIMED_OUT
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Violation:
    """One thing wrong with one field of a request: ``field`` is a path such as ``inputs["x"].shape``."""

    field: str
    description: str


class ExplainsvcError(Exception):
    """Base of all errors: ``what`` happened, ``where``, what was ``expected``, what ``to_do``.

    ``details`` are for programs, such as the node that has no rule; people read the texts.
    """

    REASON: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        to_do: str = "",
        violations: Iterable[Violation] = (),
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.to_do = what, where, expected, to_do
        self.violations: tuple[Violation, ...] = tuple(violations)
        self.details: dict[str, str] = dict(details or {})
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.violations:
            parts.append("; ".join(f"{v.field}: {v.description}" for v in self.violations))
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.to_do:
            parts.append(self.to_do)
        return ". ".join(part.rstrip(".") for part in parts) + "."

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), **self._fields()), (self.what,)

    def knowing(self, **details: str) -> Self:
        """The same error with more details; those that it has stay."""
        return type(self)(self.what, **self._fields() | {"details": details | self.details})

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("where", "expected", "to_do", "violations", "details")}


class ModelMalformed(ExplainsvcError):
    """The bytes are not an ONNX model that the checker accepts."""

    REASON = "MODEL_MALFORMED"


class ModelUnsupported(ExplainsvcError):
    """Valid ONNX that onnxruntime cannot run here: an unknown operator, domain or opset."""

    REASON = "MODEL_UNSUPPORTED"


class ModelLimitExceeded(ExplainsvcError):
    """The model is over one of the static limits."""

    REASON = "MODEL_LIMIT_EXCEEDED"


class ExternalDataForbidden(ExplainsvcError):
    """An external-data file is missing, or its location points outside the model's folder."""

    REASON = "EXTERNAL_DATA_FORBIDDEN"


class UploadDigestMismatch(ExplainsvcError):
    """The bytes received do not have the size or sha256 that was announced."""

    REASON = "UPLOAD_DIGEST_MISMATCH"


class InvalidInput(ExplainsvcError):
    """The tensors of a request do not fit the model; ``violations`` lists all of them."""

    REASON = "INVALID_INPUT"


class InvalidParameter(ExplainsvcError):
    """A method or check parameter is unknown, ill-typed or out of range; ``violations`` lists all."""

    REASON = "INVALID_PARAMETER"


class UnknownMethod(ExplainsvcError):
    """No method or check has this name."""

    REASON = "UNKNOWN_METHOD"


class InvalidRequest(ExplainsvcError):
    """Fields of several kinds are wrong, or fields exclude one another; ``violations`` lists all of them."""

    REASON = "INVALID_REQUEST"


class TargetOutOfRange(ExplainsvcError):
    """The target names an output or an index that the model does not have."""

    REASON = "TARGET_OUT_OF_RANGE"


class NotDifferentiable(ExplainsvcError):
    """A node between the target and a wanted input has no rule."""

    REASON = "OPERATOR_NOT_DIFFERENTIABLE"


class NothingToDifferentiate(ExplainsvcError):
    """No gradient can reach the wanted input: it is integer or string, or the target does not depend on it."""

    REASON = "INPUT_NOT_DIFFERENTIABLE"


class MethodNotApplicable(ExplainsvcError):
    """The method needs something that this model does not have."""

    REASON = "METHOD_NOT_APPLICABLE"


class NotTrainable(ExplainsvcError):
    """The model has no learned numbers, or cannot be converted into a torch module that computes the same."""

    REASON = "NOT_TRAINABLE"


class ExtraMissing(ExplainsvcError):
    """A library of an extra is not installed here."""

    REASON = "EXTRA_MISSING"


class PassChangedFunction(ExplainsvcError):
    """A rewritten or explained graph does not compute what the model computes."""

    REASON = "PASS_CHANGED_FUNCTION"


class ModelQuarantined(ExplainsvcError):
    """The model brought down several worker processes and is refused for a while."""

    REASON = "MODEL_QUARANTINED"


class ModelNotFound(ExplainsvcError):
    """No stored model has this digest."""

    REASON = "MODEL_NOT_FOUND"


class AuditNotFound(ExplainsvcError):
    """No audit has this name."""

    REASON = "AUDIT_NOT_FOUND"


class UploadNotFound(ExplainsvcError):
    """No upload that was broken off has this id."""

    REASON = "UPLOAD_NOT_FOUND"


class RequestIdReused(ExplainsvcError):
    """A request or upload has the id of another one that was different."""

    REASON = "REQUEST_ID_REUSED"


class StoreFull(ExplainsvcError):
    """The store may not take so much."""

    REASON = "STORE_FULL"


class StoreCorrupt(ExplainsvcError):
    """The bytes of a stored model do not have their digest any more."""

    REASON = "STORE_CORRUPT"


class JournalMismatch(ExplainsvcError):
    """A journal holds the rows of another audit, or is in use by another process."""

    REASON = "JOURNAL_MISMATCH"


class Unauthenticated(ExplainsvcError):
    """The call carries no credentials, or none that are valid; it is never said which."""

    REASON = "UNAUTHENTICATED"


class NotAllowed(ExplainsvcError):
    """The principal of the call lacks the scope that it takes."""

    REASON = "SCOPE_MISSING"


class QuotaExceeded(ExplainsvcError):
    """The principal of the call has used up its quota; ``retry_seconds`` until there is enough, None when there never is."""

    REASON = "QUOTA_EXCEEDED"

    def __init__(self, what: str, *, retry_seconds: float | None = None, **fields: Any) -> None:
        super().__init__(what, **fields)
        self.retry_seconds = retry_seconds


class QueueFull(ExplainsvcError):
    """The server has no room for more work now."""

    REASON = "QUEUE_FULL"


class ServerStopping(ExplainsvcError):
    """The server ends before this has; it goes on when the server runs again."""

    REASON = "SERVER_STOPPING"


class WorkerCrashed(ExplainsvcError):
    """The worker process died while it computed."""

    REASON = "WORKER_CRASHED"


class WorkerOutOfMemory(ExplainsvcError):
    """The worker process reached its memory limit."""

    REASON = "WORKER_OUT_OF_MEMORY"


class WorkerTimedOut(ExplainsvcError):
    """The worker process reached its time limit."""

    REASON = "WORKER_TIMED_OUT"


_KINDS: tuple[type[ExplainsvcError], ...] = (ExplainsvcError, *ExplainsvcError.__subclasses__())
ERRORS: dict[str, type[ExplainsvcError]] = {kind.REASON: kind for kind in _KINDS}
"""Reason → class, for rebuilding an error on the client's side."""
