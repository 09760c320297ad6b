"""What the time of a job went into."""

from __future__ import annotations

from explainsvc.spans import MOST, SPANS, Spans, span


def test_spans_hold_what_is_inside_and_go_on() -> None:
    """One inside another is part of it, one behind its own name goes on with it, and no more than so many are kept."""
    SPANS.set(spans := Spans())
    with span("load"), span("session"):
        pass
    for _ in range(3):
        with span("run"):
            pass
    assert [(one.name, one.times) for one in spans.found] == [("load", 1), ("run", 3)]
    for number in range(MOST):
        with span(f"{number}"):
            pass
    assert len(spans.found) == MOST


def test_nothing_is_noted_unasked() -> None:
    """Without somebody who asks, a span is just its body."""
    SPANS.set(None)
    with span("run"):
        assert SPANS.get() is None
