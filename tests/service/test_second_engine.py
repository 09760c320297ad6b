"""A check that wants torch, of a server."""

from __future__ import annotations

from explainsvc.client import Client
from tests.service import models


def test_a_worker_has_no_torch_and_says_so(client: Client, digest: str) -> None:
    """The audit goes on; a sandboxed worker cannot import what was not there when it began."""
    report = client.audit(digest, models.image(), methods=["gradient"], checks=["second_engine"])
    assert report.verdicts == {("gradient", "second_engine"): "inconclusive"}
    assert "the workers of a server have none" in report.rows[0].note
