"""Write docs/errors.md: every error, its code and its details, from the table of the service; ``--check`` only compares."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "protos")]

from google.rpc import error_details_pb2  # noqa: E402
from tables import table, written  # noqa: E402

from explainsvc.errors import (  # noqa: E402
    ERRORS,
    ExplainsvcError,
    InvalidInput,
    InvalidParameter,
    InvalidRequest,
    UnknownMethod,
    Violation,
)
from explainsvc.service.status import CODES, DOMAIN, RETRIES, to_status  # noqa: E402

PAGE = ROOT / "docs" / "errors.md"
HEAD = f"""# Errors

Written by `make docs` from the program's one table; not edited by hand.

A failed call ends in a code and carries a `google.rpc.Status` in the trailing metadata `grpc-status-details-bin`; an item of
`ExplainBatch` and a failed operation carry the same status in their answer. Its first detail is an `ErrorInfo` with domain
`{DOMAIN}`, the reason below, and as metadata the texts `what`, `where`, `expected` and `to_do` as far as there are any. The
Python client raises the class; the command line prints the texts.

Further details, where they apply:

- `BadRequest`: everything that is wrong with the fields of the request, each with its path (`inputs["x"].shape`,
  `parameters.steps`, `images["x"][2]`) and, for an unknown name, the known ones. Never only the first.
- `PreconditionFailure`: with `FAILED_PRECONDITION`; type is the reason, the subject is where it is.
- `ResourceInfo`: what was not found, by type and name.
- `RetryInfo`: the same request may succeed after this time. Without it, sending it again is of no use.

A status that would not fit the headers that clients accept has its texts cut, and says how many violations are left out.
"""
DETAILS = {
    "OPERATOR_NOT_DIFFERENTIABLE": "metadata of ErrorInfo: `node`, `operator`, and `methods`, those that do work on the model",
    "MODEL_NOT_FOUND": "metadata of ErrorInfo: `name`",
    "AUDIT_NOT_FOUND": "metadata of ErrorInfo: `name`",
}


def row(reason: str, kind: type[ExplainsvcError]) -> tuple[str, ...]:
    """Reason, code, class, meaning, details."""
    status = to_status(kind("what", where="where", violations=[Violation("field", "wrong")] if _lists(kind) else []))
    names = [detail.type_url.rpartition(".")[2] for detail in status.details]
    assert all(hasattr(error_details_pb2, name) for name in names)
    details = [f"{name} ({RETRIES[kind].seconds} s)" if name == "RetryInfo" else name for name in names if name != "ErrorInfo"]
    details += [DETAILS[reason]] if reason in DETAILS else []
    meaning = " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
    return f"`{reason}`", CODES[kind].name, f"`{kind.__name__}`", meaning, "; ".join(details)


def _lists(kind: type[ExplainsvcError]) -> bool:
    """Whether it is about fields of the request."""
    return kind in (InvalidInput, InvalidParameter, UnknownMethod, InvalidRequest)


def page() -> str:
    """The whole page."""
    internal = ExplainsvcError.REASON
    meaning = "Anything else. What it was is in the server's log, and not in the answer."
    rows = [row(reason, kind) for reason, kind in ERRORS.items() if reason != internal]
    rows.append((f"`{internal}`", CODES[ExplainsvcError].name, f"`{ExplainsvcError.__name__}`", meaning, ""))
    return "\n".join([HEAD, table(("reason", "code", "class", "meaning", "details beside ErrorInfo"), rows), ""])


def main(arguments: Sequence[str]) -> int:
    """Write docs/errors.md, or with ``--check`` return 1 when it is not what the table says."""
    return written(PAGE, page(), arguments, "docs/errors.md is not what the table of errors says.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
