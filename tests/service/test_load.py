"""The short forms of ``make clients64``, ``make overload`` and ``make soak``, each with its control."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from benchmarks import clients64, overload, soak


@pytest.fixture(scope="module")
def served() -> Iterator[soak.Served]:
    """A server process of two workers and a line without end."""
    with soak.fresh("--queue", "1000000") as served:
        yield served


def test_64_clients_get_what_one_gets(served: soak.Served) -> None:
    """Every answer is the serial one, within the tolerance of batches where requests may be batched; no other error."""
    load = clients64.loaded(served.address, seeds=1)
    found = load.run(clients64.CLIENTS, 3.0)
    assert clients64.fine(found), found
    control = load.run(4, 1.0, alter=True)
    assert control.wrong == control.altered > 0


def test_memory_does_not_grow(served: soak.Served) -> None:
    """Under mixed load neither the server nor its workers grow; a leak of either is seen by the same measurement."""
    found, codes = soak.soaked(served, 9.0)
    assert codes.keys() == {"OK"}
    assert [one.name for one in found if not one.kept] == []
    with closing(soak.Streams()) as streams:
        assert not soak.soaked(served, 5.0, streams)[0][0].kept
    assert not soak.soaked(served, 5.0, soak.upload_another)[0][1].kept


def test_what_is_too_much_is_refused(served: soak.Served) -> None:
    """At ten times its capacity a server answers or says when to come again; one with a line without end lets callers wait.

    How much it still answers is measured by ``make overload``, which needs the machine for itself.
    """
    with overload.lined(overload.QUEUE) as address:
        assert set(overload.measured(address, 2.0).codes) == {"OK", overload.REFUSED}
    assert "DEADLINE_EXCEEDED" in overload.measured(served.address, 3.0).codes
