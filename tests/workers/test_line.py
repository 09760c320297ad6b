"""The line before the workers and the quarantine of models, without any worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from explainsvc.errors import ModelQuarantined, QueueFull
from explainsvc.workers.line import Line
from explainsvc.workers.quarantine import Quarantine


def served(line: Line[int], places: dict[str, list[asyncio.Future[int]]], number: int) -> list[str]:
    """Whose future is done after each of so many servings."""
    order = []
    for _ in range(number):
        assert line.serve(1)
        order += [model for model, futures in places.items() if futures and futures[0].done()]
        places[order[-1]].pop(0)
    return order


def test_models_take_turns() -> None:
    """Forty requests of one model keep one of another waiting for a single turn."""

    async def run() -> list[str]:
        line: Line[int] = Line(100)
        places = {model: [line.join(model).given for _ in range(count)] for model, count in (("busy", 40), ("b", 1), ("c", 2))}
        assert len(line) == 43
        return served(line, places, 6)

    assert asyncio.run(run()) == ["busy", "b", "c", "busy", "c", "busy"]


def test_the_line_is_bounded_and_can_be_left() -> None:
    """One too many is QUEUE_FULL; whoever leaves or gives up makes room and is handed nothing."""

    async def run() -> None:
        line: Line[int] = Line(2)
        first, second = line.join("a"), line.join("b")
        with pytest.raises(QueueFull):
            line.join("c")
        line.leave(first)
        third = line.join("c")
        second.given.cancel()
        assert line.serve(7)
        assert third.given.result() == 7
        assert not line.serve(8)
        assert len(line) == 0

    asyncio.run(run())


def test_quarantine_counts_within_its_window() -> None:
    """Three strikes within ten seconds, for a minute; older ones, other models and released ones do not count."""
    now = [0.0]
    quarantine = Quarantine(3, 10.0, 60.0, clock=lambda: now[0])
    for time in (0.0, 9.0, 18.0):  # the first is over when the third comes
        now[0] = time
        quarantine.strike("slow")
        quarantine.check("slow")
    for _ in range(3):
        quarantine.strike("bad")
    quarantine.check("slow")
    with pytest.raises(ModelQuarantined, match="another 60 seconds"):
        quarantine.check("bad")
    assert quarantine.models() == ("bad",)
    now[0] += 60.0
    quarantine.check("bad")
    for _ in range(3):
        quarantine.strike("bad")
    quarantine.release("bad")
    quarantine.check("bad")


class Pages:
    """A book in memory, which another quarantine can read."""

    def __init__(self) -> None:
        self.lines: dict[str, tuple[Sequence[float], float]] = {}

    def read(self) -> dict[str, tuple[Sequence[float], float]]:
        """All lines."""
        return dict(self.lines)

    def write(self, model: str, strikes: Sequence[float], until: float) -> None:
        """A line, or none."""
        self.lines.pop(model, None)
        if strikes or until:
            self.lines[model] = (strikes, until)


def test_the_next_quarantine_goes_on_from_the_book() -> None:
    """Strikes and terms hold for whoever reads them, for as long as they would have, and leave no lines behind."""
    now, book = [0.0], Pages()

    def quarantine() -> Quarantine:
        return Quarantine(2, 10.0, 60.0, book, clock=lambda: now[0])

    quarantine().strike("bad")
    now[0] = 5.0
    quarantine().strike("bad")
    now[0] = 64.0
    with pytest.raises(ModelQuarantined, match="another 1 seconds"):
        quarantine().check("bad")
    now[0] = 65.0
    quarantine().check("bad")
    assert book.lines == {}
    quarantine().strike("bad")
    now[0] = 80.0
    quarantine().strike("bad")
    quarantine().check("bad")
    quarantine().release("bad")
    assert book.lines == {}
