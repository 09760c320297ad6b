"""Rulebooks that users write: a Python list or dict, or the same as JSON or TOML text, checked row by row.

::

    output = "value"                # what the target starts with: "value", "relu" or "one"
    preset = "lrp_epsilon_plus"     # its rows follow the rows below (optional)

    [[rows]]                        # the first matching row wins
    rule = "lrp_gamma"              # a name of RULES
    operators = ["convolution"]     # ONNX operators and words of KINDS; default: all that the rule is defined for
    position = "any"                # or "first", "last"
    nodes = "*"                     # glob on the names of nodes and of their results
    followed_by = "Relu"            # only where ReLUs take the result
    parameters = {gamma = 0.25, form = "add_positive"}
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import onnx

from explainsvc.cards import plain
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.rules.lrp import LINEAR
from explainsvc.rules.lrp_presets import PRESETS
from explainsvc.rules.lrp_rulebooks import Output, Position, Row, Table
from explainsvc.rules.lrp_table import KINDS, RULES

ROW_KEYS = ("rule", "operators", "parameters", "position", "nodes", "followed_by")
TABLE_KEYS = ("rows", "output", "preset")
FIELD = "parameters.rulebook"
MOST_ROWS = 1000
"""Every node is held against every row."""


def read_rulebook(given: Any) -> Table:
    """The table that a user means.

    Args:
        given: A list of rows, a dict with rows, the JSON or TOML text of either, or the name of a preset.

    Raises:
        InvalidParameter: One violation for everything wrong in every row.
    """
    violations: list[Violation] = []
    document = _document(_parsed(given), violations)
    rows = [row for k, entry in enumerate(document["rows"]) if (row := _row(entry, f"{FIELD}.rows[{k}]", violations)) is not None]
    _choose(document, "output", get_args(Output), FIELD, violations)
    preset = document.get("preset")
    if preset is not None:
        _choose(document, "preset", tuple(PRESETS), FIELD, violations)
    if violations:
        raise InvalidParameter("the rulebook is not valid", violations=violations)
    base = PRESETS[preset]() if preset is not None else Table(())
    return Table((*rows, *base.rows), document.get("output", base.output))


def as_data(table: Table) -> dict[str, Any]:
    """The table as plain dicts and lists, as :func:`read_rulebook` takes it."""
    defaults = asdict(Row(""))
    rows = [{key: plain(value) for key, value in asdict(row).items() if value != defaults[key]} for row in table.rows]
    return {"rows": rows, "output": table.output}


def _parsed(given: Any) -> Any:
    """Text as what it says."""
    if not isinstance(given, str):
        return given
    if given in PRESETS:
        return {"preset": given, "rows": []}
    try:
        return (
            json.loads(given)
            if given.lstrip()[:1] in ("{", "[") and not given.lstrip().startswith("[[")
            else tomllib.loads(given)
        )
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(FIELD, f"is neither a preset ({', '.join(PRESETS)}) nor JSON nor TOML: {error}") from error


def _document(given: Any, violations: list[Violation]) -> dict[str, Any]:
    """As a dict with rows."""
    document = dict(given) if isinstance(given, Mapping) else {"rows": given}
    rows = document.setdefault("rows", [])
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise _invalid(f"{FIELD}.rows", f"is {rows!r}, expected a list of rows")
    if len(rows) > MOST_ROWS:
        raise _invalid(f"{FIELD}.rows", f"are {len(rows)}, expected at most {MOST_ROWS}")
    if not rows and document.get("preset") is None:
        raise _invalid(f"{FIELD}.rows", "is empty, expected rows or a preset")
    _known(document, TABLE_KEYS, FIELD, violations)
    return document


def _row(entry: Any, where: str, violations: list[Violation]) -> Row | None:
    """One row; None where something is wrong with it."""
    if not isinstance(entry, Mapping):
        violations.append(Violation(where, f"is {entry!r}, expected an object with a rule"))
        return None
    before = len(violations)
    _known(entry, ROW_KEYS, where, violations)
    _choose(entry, "rule", tuple(RULES), where, violations, required=True)
    _choose(entry, "position", get_args(Position), where, violations)
    _choose(entry, "followed_by", ("", "Relu"), where, violations)
    if not isinstance(entry.get("nodes", ""), str):
        violations.append(Violation(f"{where}.nodes", f"is {entry['nodes']!r}, expected a glob"))
    if not isinstance(entry.get("parameters", {}), Mapping):
        violations.append(Violation(f"{where}.parameters", f"is {entry['parameters']!r}, expected an object"))
    operators = _operators(entry.get("operators", ()), f"{where}.operators", violations)
    if len(violations) > before:
        return None
    row = Row(**{**entry, "operators": operators, "parameters": dict(entry.get("parameters", {}))})
    violations += _misplaced(row, where) + _parameters(row, where)
    return row if len(violations) == before else None


def _known(given: Mapping[Any, Any], known: Sequence[str], where: str, violations: list[Violation]) -> None:
    violations += [Violation(f"{where}.{key}", f"is unknown; known: {', '.join(known)}") for key in given if key not in known]


def _choose(
    given: Mapping[str, Any], key: str, choices: Sequence[str], where: str, violations: list[Violation], required: bool = False
) -> None:
    if (key in given or required) and (not isinstance(given.get(key), str) or given[key] not in choices):
        found = f"is {given[key]!r}" if key in given else "is missing"
        violations.append(Violation(f"{where}.{key}", f"{found}, expected one of {', '.join(filter(None, choices))}"))


def _operators(given: Any, where: str, violations: list[Violation]) -> tuple[str, ...]:
    words = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else (given,)
    unknown = [word for word in words if not (isinstance(word, str) and (word in KINDS or onnx.defs.has(word)))]
    violations += [Violation(where, f"{word!r} is neither an ONNX operator nor one of {', '.join(KINDS)}") for word in unknown]
    return words


def _misplaced(row: Row, where: str) -> list[Violation]:
    """Operators that the rule is not defined for, and a position that only linear layers have."""
    found, defined = [], RULES[row.rule].operators
    covers = row.covers
    if defined is not None and covers is not None and not covers <= defined:
        text = f"{row.rule} is not defined for {', '.join(sorted(covers - defined))}; it is for {', '.join(sorted(defined))}"
        found.append(Violation(f"{where}.operators", text))
    if row.position != "any" and (covers is None or not covers <= LINEAR):
        found.append(
            Violation(f"{where}.position", f"is {row.position}, which only linear layers are ({', '.join(sorted(LINEAR))})")
        )
    return found


def _parameters(row: Row, where: str) -> list[Violation]:
    """What the rule says of its parameters."""
    try:
        row.made(bias=True)
    except InvalidParameter as error:
        return [Violation(f"{where}.{violation.field}", violation.description) for violation in error.violations]
    return []


def _invalid(where: str, description: str) -> InvalidParameter:
    return InvalidParameter("the rulebook is not valid", violations=[Violation(where, description)])
