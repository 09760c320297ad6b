"""The table of errors, without a server."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from explainsvc.codec.errors import from_error, to_error
from explainsvc.errors import ERRORS, ExplainsvcError, Violation
from explainsvc.service.status import CODES, DETAILS_KEY, from_rpc_error, to_status

LARGEST_HEADER = 8192


class Failed(grpc.RpcError):
    """A failed call as grpc hands it out."""

    def __init__(self, error: ExplainsvcError) -> None:
        self.status = to_status(error)

    def trailing_metadata(self) -> Any:
        """With the status in it."""
        return ((DETAILS_KEY, self.status.SerializeToString()),)


@pytest.mark.parametrize("reason", ERRORS)
def test_every_error_travels(reason: str) -> None:
    """Every class of error has a code, and is itself again on the other side, over both kinds of wire."""
    violations = (Violation('inputs["x"]', "is missing"), Violation("target", "is wrong"))
    error = ERRORS[reason]("what", where="where", expected="expected", to_do="do", violations=violations)
    assert CODES[type(error)] != grpc.StatusCode.OK
    for rebuilt in (from_rpc_error(Failed(error), "server"), from_error(to_error(error))):
        assert type(rebuilt) is type(error)
        assert str(rebuilt) == str(error)
        assert rebuilt.violations == violations


def test_the_largest_status_fits_a_header() -> None:
    """However long the texts, the status and its message stay below what clients accept as headers."""
    violations = [Violation("€" * 5000, "€" * 5000)] * 1000
    error = ExplainsvcError("€" * 9999, where="€" * 999, expected="€" * 999, to_do="€" * 999, violations=violations)
    status = to_status(error)
    percent_encoded = quote(status.message, safe=" ")
    assert len(b64encode(status.SerializeToString())) + len(percent_encoded) < LARGEST_HEADER


def test_how_many_violations_are_left_out_is_said() -> None:
    """The last violation counts those that did not fit."""
    violations = [Violation(f"inputs[{number}]", "wrong") for number in range(125)]
    rebuilt = from_rpc_error(Failed(ExplainsvcError("what", violations=violations)), "server").violations
    assert rebuilt[-1].description == f"and {125 - len(rebuilt) + 1} more"
    assert len(rebuilt) > 10
