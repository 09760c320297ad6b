"""So many graphs, one after the other; what fails is made small."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.check import Tally, check
from tests.fuzz.graphs import Drawn, graphs
from tests.fuzz.smaller import smallest

QUIET = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}
"""hypothesis only draws: a seed says it all, and :func:`smallest` finds what fails better than fewer seeds do."""


def tried(drawn: Drawn, tally: Tally) -> None:
    """Checks one graph; a failure is told with the smallest part of the graph that fails in the same way.

    Raises:
        AssertionError: It fails.
    """
    kind = failure(drawn, tally)
    if kind is not None:
        least = smallest(drawn, lambda d: failure(d, Tally()) == kind)
        raise AssertionError(f"{told(least)}\nas part of\n{drawn!r}")


def failure(drawn: Drawn, tally: Tally) -> str | None:
    """The class of what went wrong, if anything did."""
    try:
        check(drawn, tally)
    except Exception as error:  # noqa: BLE001  (whatever a graph brings out is a finding)
        return type(error).__name__
    return None


def told(drawn: Drawn) -> str:
    """The graph and what is wrong with it."""
    try:
        check(drawn, Tally())
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}\n{drawn!r}"
    return repr(drawn)


def campaign(count: int, number: int, say: Callable[[str], None]) -> tuple[Tally, int]:
    """Fresh graphs from a seed, on and on after failures, of which one of every kind is told at once."""
    tally, failures = Tally(), set()

    @seed(number)
    @settings(max_examples=count, **QUIET)
    @given(graphs())
    def run(drawn: Drawn) -> None:
        tally.graphs += 1
        try:
            tried(drawn, tally)
        except AssertionError as error:
            kind = str(error).split("\n", 1)[0]
            if kind not in failures:
                say(f"\n=== FAILED\n{error}")
            failures.add(kind)
        if tally.graphs % 100 == 0:
            say(f"{tally.graphs} graphs, {len(failures)} kinds of failures")

    run()
    return tally, len(failures)
