"""The table of errors, without a server."""

from __future__ import annotations

import grpc
import pytest

from explainsvc.codec.errors import from_error, to_error
from explainsvc.errors import ERRORS, ExplainsvcError, Violation
from explainsvc.service.status import CODES, DETAILS_KEY, VIOLATIONS, from_rpc_error, to_status

LARGEST_HEADER = 8192


class Failed(grpc.RpcError):
    """A failed call as grpc hands it out."""

    def __init__(self, error: ExplainsvcError) -> None:
        self.status = to_status(error)

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
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
    violations = [Violation("é" * 5000, "ü" * 5000)] * 1000
    status = to_status(ExplainsvcError("ä" * 9999, where="ö" * 999, expected="é" * 999, to_do="ß" * 999, violations=violations))
    percent_encoded = 3 * len(status.message.encode())
    assert len(status.SerializeToString()) * 4 / 3 + percent_encoded < LARGEST_HEADER


def test_how_many_violations_are_left_out_is_said() -> None:
    """The last violation counts those that did not fit."""
    error = ExplainsvcError("what", violations=[Violation(str(number), "wrong") for number in range(VIOLATIONS + 5)])
    assert from_rpc_error(Failed(error), "server").violations[-1].description == "and 5 more"
