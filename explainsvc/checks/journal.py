"""The journal of an audit: what a part of it has found, kept so that an audit that was killed goes on from there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from explainsvc.attribution import versions
from explainsvc.cards import plain, recorded
from explainsvc.check import Part
from explainsvc.checks.facts import array_facts, machine
from explainsvc.checks.plan import Plan
from explainsvc.checks.rows import Row
from explainsvc.runtime import threads


@dataclass(frozen=True)
class Finished:
    """A part of an audit, the seconds that it took, and its rows."""

    part: Part
    seconds: float
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dict whose floats are exact; NaN and infinity stay what they are, as Python's ``json`` writes them."""
        return {"part": list(self.part), "seconds": self.seconds, "rows": [dataclasses.asdict(row) for row in self.rows]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Finished:
        """What ``to_json`` made; KeyError or TypeError for anything else."""
        return cls(tuple(fields["part"]), float(fields["seconds"]), tuple(Row(**row) for row in fields["rows"]))


class Journal(Protocol):
    """Where an audit finds and leaves what is finished."""

    def begin(self, question: str) -> Mapping[Part, Finished]:
        """What is finished of this question (see :func:`question_of`); JournalMismatch for the journal of another one."""

    def record(self, finished: Finished) -> None:
        """Keep a part; durable when this returns."""


def question_of(plan: Plan) -> str:
    """All that the rows of an audit depend on, as canonical JSON: audits of the same question have the same rows, bit for bit."""
    facts = {
        "model": {"digest": plan.model.digest, "straight_through": plan.model.prepared.straight_through},
        "inputs": {name: array_facts(array) for name, array in plan.feeds.items()},
        "methods": [[asked.method.card.name, recorded(asked.params), asked.by_caller] for asked in plan.methods],
        "checks": [[check.card.name, recorded(params)] for check, params in plan.checks],
        "target": _digested(plan.target),
        "labels": None if plan.labels is None else array_facts(plan.labels),
        "seed": plan.seed,
        "versions": versions(),
        "machine": machine(),
        "threads": threads(),
    }
    return json.dumps(facts, sort_keys=True)


def _digested(target: Any) -> Any:
    """The target, arrays by their digest."""
    if isinstance(target, Mapping):
        return {key: _digested(value) for key, value in target.items()}
    return array_facts(target) if isinstance(target, np.ndarray) else plain(target)
