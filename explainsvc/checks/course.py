"""The course of an audit, part by part: what is finished is not made again, and how far it is can be heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from explainsvc.check import Check, Part, Work
from explainsvc.checks.journal import Finished, question_of
from explainsvc.checks.pace import Pace, Standing
from explainsvc.checks.plan import Plan
from explainsvc.checks.rows import Row
from explainsvc.errors import ExplainsvcError


@dataclass(eq=False)
class Course:
    """An audit under way; made by :meth:`of`.

    Attributes:
        plan: What is done.
        works: Check → what it has to do.
        known: What is finished, by an earlier run or this one.
        explained: Method → seconds of its explanation of the untouched model, for those tried so far.
        pace: Of the checks, once they have begun.
    """

    plan: Plan
    works: Mapping[str, Work]
    known: dict[Part, Finished]
    explained: dict[str, float] = field(default_factory=dict)
    pace: Pace | None = None

    @classmethod
    def of(cls, plan: Plan) -> Course:
        """At its beginning.

        Raises:
            JournalMismatch: The journal is that of another question.
        """
        known = {} if plan.journal is None else dict(plan.journal.begin(question_of(plan)))
        return cls(plan, {check.card.name: _work(plan, check, params) for check, params in plan.checks}, known)

    @contextmanager
    def untouched(self, name: str) -> Iterator[None]:
        """While a method explains the untouched model."""
        self.tell(f"untouched: {name}")
        start = perf_counter()
        try:
            yield
        finally:
            self.explained[name] = perf_counter() - start

    def begin_checks(self, methods: Sequence[str], forward: float) -> None:
        """The checks begin, with the methods that could explain the untouched model; ``forward`` in seconds."""
        self.pace = Pace(self.works, forward, {name: self.explained[name] for name in methods})

    def once(self, part: Part, make: Callable[[], Iterable[Row]]) -> Iterator[Row]:
        """The rows of a part, kept as soon as it is finished; see :class:`explainsvc.check.Subject`."""
        if part in self.known:
            yield from self.known[part].rows
            self._finished(self.known[part])
            return
        self.tell(": ".join(part))
        start, rows = perf_counter(), []
        for row in make():
            rows.append(row)
            yield row
        found = Finished(part, perf_counter() - start, tuple(rows))
        if self.plan.journal is not None:
            self.plan.journal.record(found)
        self.known[part] = found
        self._finished(found)

    def _finished(self, found: Finished) -> None:
        """A check on the model alone may come before the methods explain it: it is counted when it comes again, in its place."""
        if self.pace is not None:
            self.pace.finished(found.part, found.seconds)

    def over(self, check: str) -> None:
        """Nothing is left of a check."""
        assert self.pace is not None
        self.pace.over(check)

    def tell(self, what: str) -> None:
        """Says how far the audit is."""
        methods = [asked.method.card.name for asked in self.plan.methods]
        pace = self.pace or Pace(self.works, 0.0, dict.fromkeys(methods, 0.0))
        done, total = len(self.explained) + pace.done(), len(methods) + pace.total()
        standing = Standing(done, total, what, None if self.pace is None else pace.remaining())
        self.plan.progress(done, total, what)
        self.plan.on_standing(standing)


def _work(plan: Plan, check: Check, params: Any) -> Work:
    """Nothing where the check will refuse the model."""
    try:
        return check.work(plan.model, params)
    except ExplainsvcError:
        return Work(0)
