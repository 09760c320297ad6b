"""Checks run on maps that a test gives, without a method that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper

import explainsvc
from explainsvc.cards import read_params
from explainsvc.check import Explained, Subject, Verdict, always
from explainsvc.checks import audit, find_check, maps
from explainsvc.checks.course import Course
from explainsvc.checks.plan import Question, plan_audit
from explainsvc.checks.rows import Row
from explainsvc.model import Model
from tests.checks.models import built, numbers

Array = npt.NDArray[Any]


def linear(*shape: int) -> Model:
    """x [n, *shape] → y [n, 1] = Σ w x with known weights (:func:`weights_of`)."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"], "flat"), helper.make_node("MatMul", ["f", "w"], ["y"], "dense")]
    return explainsvc.load(built(nodes, ["n", *shape], {"w": weights_of(*shape).reshape(-1, 1)}))


def weights_of(*shape: int) -> Array:
    """The weights of ``linear``."""
    return numbers(*shape, seed=7)


def subject_of(model: Model, feeds: Mapping[str, Array], methods: Sequence[str], seed: int = 0, **question: Any) -> Subject:
    """What an audit would check; no controls unless ``checks`` names one that has them."""
    plan = plan_audit(model, feeds, Question(methods, seed=seed, **{"checks": ("complexity",)} | question))
    return replace(audit.subject_of(plan, Course.of(plan)), once=always)


def with_map(explained: Explained, change: Callable[[Array], Array], name: str = "") -> Explained:
    """The same explanation with other numbers."""
    values = {n: change(v) for n, v in explained.result.values.items()}
    card = replace(explained.method.card, name=name or explained.name)
    flat = maps.flat(values, len(explained.maps) > 1)
    method = replace(explained.method, card=card)
    return replace(explained, method=method, result=replace(explained.result, values=values), maps=flat)


def with_maps(subject: Subject, **changes: Callable[[Array], Array]) -> Subject:
    """The first method's maps, and beside them changed ones under the names given."""
    first = subject.explained[0]
    return replace(subject, explained=(first, *(with_map(first, change, name) for name, change in changes.items())))


def judged(subject: Subject, name: str, **parameters: Any) -> tuple[list[Row], Mapping[str, Verdict]]:
    """Rows and verdicts of a check."""
    check = find_check(name)
    params: Any = read_params(check.params, parameters, name)
    rows = list(check.run(subject, params))
    return rows, check.judge(subject, params, rows)


def row_of(rows: Sequence[Row], method: str, measure: str, order: str = "", step: int | None = None) -> Row:
    """The only row of these."""
    (row,) = [r for r in rows if (r.method, r.measure, r.order) == (method, measure, order) and step in (None, r.step)]
    return row


def negated(values: Array) -> Array:
    """The opposite map."""
    return -values


def uniform(values: Array) -> Array:
    """A map without contrast."""
    return np.ones_like(values)
