"""The time left of an audit, and what is heard of it."""

from __future__ import annotations

import pytest

from explainsvc.check import Work
from explainsvc.checks.pace import Pace, Standing
from tests.checks.models import cnn, pictures


def test_as_the_checks_say_until_a_part_is_timed() -> None:
    """Explanations by each method's time and forwards by theirs; then as what was finished took beside that."""
    works = {"walk": Work(3, 3), "curves": Work(1, 0, explanations=0, forwards=10)}
    pace = Pace(works, 0.5, {"fast": 1.0, "slow": 3.0})
    assert pace.remaining() == 3 * (1 + 3) + 3 * 2 + 2 * 10 * 0.5
    pace.finished(("walk", "0", "model"), 4.0)  # twice what was expected: the mean of the methods
    assert pace.remaining() == pytest.approx(2 * (3 * (1 + 3) + 2 * 2) + 10)
    pace.finished(("walk", "0", "fast"), 0.5)  # 4.5 seconds for what was expected to take 3
    assert pace.remaining() == pytest.approx(1.5 * (2 * 1 + 3 * 3 + 2 * 2) + 10)
    assert (pace.done(), pace.total()) == (2, 3 * 2 + 3 + 2)
    pace.over("walk")
    assert (pace.remaining(), pace.done()) == (10, 9)
    pace.finished(("curves", "slow"), 1.0)
    pace.finished(("curves", "fast"), 3.0)
    assert (pace.remaining(), pace.done()) == (0, 11)


def test_an_audit_is_heard_of_as_one() -> None:
    """Every part counts once, over all checks; the time left is unknown at first, and nothing in the end."""
    standings: list[Standing] = []
    triples: list[tuple[int, int, str]] = []
    cnn().audit(
        pictures(6), methods=["gradient"], checks=["parameter_randomization", "completeness"],
        on_standing=standings.append, progress=lambda *heard: triples.append(heard),
    )  # fmt: skip
    assert triples == [(s.done, s.total, s.what) for s in standings]
    assert [s.done for s in standings] == [0, *range(3 + 4 * 4 + 3 + 1)]
    assert {s.total for s in standings} == {3 + 4 * 4 + 3}  # explained; (model + methods) of 4 steps; methods of completeness
    assert [s.remaining is None for s in standings] == [True] * 4 + [False] * 20
    assert standings[-1].remaining == 0
    assert all(s.remaining > 0 for s in standings[4:-1] if s.remaining is not None)


def test_a_check_that_refuses_leaves_nothing() -> None:
    """A check that does not apply counts as done when it has said so."""
    standings: list[Standing] = []
    checks = ["select_parameters", "complexity"]
    cnn().audit(pictures(6), methods=["gradient"], checks=checks, on_standing=standings.append)
    assert standings[-1].done == standings[-1].total == 3
