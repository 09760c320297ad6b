"""Computing a report again: the question that it answers, and every number held against the new one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.checks.facts import as_recorded, sha256_of
from explainsvc.checks.rows import STATISTICS, Row
from explainsvc.errors import InvalidInput, Violation
from explainsvc.report.report import Report

ABSOLUTE, RELATIVE = 0.02, 0.02
"""What a number may move on another kind of machine: other processors round otherwise, and a ReLU at a kink then opens."""

Given = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """A number or word that came out otherwise: ``what`` names it, "missing" stands for one that is not there."""

    what: str
    reported: str
    replayed: str


@dataclass(frozen=True)
class Replay:
    """What came of computing a report again.

    Attributes:
        exact: Whether bit for bit was asked for: the same kind of machine and the same versions.
        compared: How many numbers and verdicts were compared.
        differences: Those that came out otherwise.
        new: The report of this time.
    """

    exact: bool
    compared: int
    differences: tuple[Difference, ...]
    new: Report


def question_of(report: Report, given: Given | None = None) -> dict[str, Any]:
    """The keyword arguments of ``Model.audit`` that the report answers.

    Args:
        report: As it was loaded.
        given: Parameters of which the report holds only the digest, because they are large arrays.

    Raises:
        InvalidInput: Such a parameter is missing, or is another than it was.
    """
    header = report.header
    owners = {**header["methods"], **header["checks"]}
    violations: list[Violation] = []
    parameters = {
        owner: _parameters(f"{owner}.", facts["parameters"], (given or {}).get(owner, {}), violations)
        for owner, facts in owners.items()
    }
    if violations:
        raise InvalidInput(
            "the report holds only the digest of a large array", where="replay", violations=violations,
            to_do="Give the array again: -p NAME.KEY=FILE.npy",
        )  # fmt: skip
    return {
        "methods": list(header["asked"]),
        "checks": list(header["checks"]),
        "target": header["target_given"],
        "labels": None if header["labels"] is None else np.asarray(header["labels"]),
        "seed": header["seed"],
        "parameters": {owner: values for owner, values in parameters.items() if values},
    }


def _parameters(prefix: str, recorded: Mapping[str, Any], given: Mapping[str, Any], wrong: list[Violation]) -> dict[str, Any]:
    values = {}
    for name, value in recorded.items():
        if isinstance(value, Mapping) and "sha256" in value:
            found = given.get(name)
            same = isinstance(found, np.ndarray) and sha256_of(found) == value["sha256"]
            values[name] = found
            if not same:
                is_what = "is missing" if found is None else "is another array"
                expected = f"expected {value['dtype']}{value['shape']} with sha256 {value['sha256']}"
                wrong.append(Violation(f"{prefix}{name}", f"{is_what}, {expected}"))
        elif value is not None:
            values[name] = value
    return values


def require_same_subject(report: Report, model_digest: str, feeds: Mapping[str, Any]) -> None:
    """The model and the inputs must be those of the report.

    Raises:
        InvalidInput: Lists every digest that differs.
    """
    expected = report.header["model"]["digest"]
    violations = (
        [] if model_digest == expected else [Violation("model", f"has digest {model_digest}, the report's has {expected}")]
    )
    inputs = report.header["inputs"]
    for name, facts in inputs.items():
        if name not in feeds:
            violations.append(Violation(f'inputs["{name}"]', "is missing"))
        elif (found := sha256_of(as_recorded(feeds[name], facts["dtype"]))) != facts["digest"]:
            violations.append(Violation(f'inputs["{name}"]', f"has sha256 {found}, the report's has {facts['digest']}"))
    if violations:
        raise InvalidInput("this is not what the report is about", where="replay", violations=violations)


def compared(old: Report, new: Report) -> Replay:
    """Every row's numbers and every verdict of ``old`` against ``new``."""
    exact = (old.header.get("machine"), old.header["versions"]) == (new.header.get("machine"), new.header["versions"])
    rows = {_key(row): row for row in new.rows}
    differences = [d for row in old.rows for d in _row_differences(row, rows.pop(_key(row), None), exact)]
    differences += [Difference(" ".join(map(str, key)), "missing", "a row") for key in rows]
    differences += list(_verdict_differences(old, new))
    return Replay(exact, len(STATISTICS) * len(old.rows) + len(old.verdicts), tuple(differences), new)


def _key(row: Row) -> tuple[Any, ...]:
    return (row.check, row.method, row.order, row.step, row.unit, row.measure)


def _row_differences(old: Row, new: Row | None, exact: bool) -> Iterator[Difference]:
    name = " ".join(str(part) for part in _key(old) if part != "")
    if new is None:
        yield Difference(name, "a row", "missing")
        return
    for field in (*STATISTICS, "n"):
        a, b = getattr(old, field), getattr(new, field)
        if not _equal(float(a), float(b), exact or field == "n"):
            yield Difference(f"{name}: {field}", repr(a), repr(b))


def _equal(a: float, b: float, exact: bool) -> bool:
    if math.isnan(a) or math.isnan(b) or exact:
        return a == b or (math.isnan(a) and math.isnan(b))
    return abs(a - b) <= ABSOLUTE + RELATIVE * abs(a)


def _verdict_differences(old: Report, new: Report) -> Iterator[Difference]:
    for key in dict.fromkeys([*old.verdicts, *new.verdicts]):
        a, b = (report.verdicts.get(key, "missing") for report in (old, new))
        if a != b:
            yield Difference(f"verdict of {key[0]} by {key[1]}", a, b)
