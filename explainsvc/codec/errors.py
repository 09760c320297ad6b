"""Errors ↔ ``Error``; the class is found again by its reason."""

from __future__ import annotations

from explainpb.v1 import error_pb2 as pb
from explainsvc.errors import ERRORS, ExplainsvcError, Violation


def to_error(error: ExplainsvcError) -> pb.Error:
    """The message of an error."""
    violations = [pb.FieldViolation(field=v.field, description=v.description) for v in error.violations]
    return pb.Error(
        reason=error.REASON,
        what=error.what,
        where=error.where,
        expected=error.expected,
        to_do=error.to_do,
        violations=violations,
        details=error.details,
    )


def from_error(error: pb.Error) -> ExplainsvcError:
    """The error of a message; a reason that this version does not know becomes the base class."""
    kind = ERRORS.get(error.reason, ExplainsvcError)
    violations = [Violation(v.field, v.description) for v in error.violations]
    texts = {"where": error.where, "expected": error.expected, "to_do": error.to_do}
    return kind(error.what, **texts, violations=violations, details=error.details)
