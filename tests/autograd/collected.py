"""The case rows of all families by operator: what is tested, as docs/operators.md tells it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.autograd.harness import Case

IN_MODELS = {
    "If": "autograd/test_control.py",
    "Loop": "autograd/test_control.py",
    "Scan": "autograd/test_control.py",
    "Cast": "autograd/test_shape.py",
    "Round": "graph/test_quantised.py",
}
"""Operators of the vjp table that whole models test instead of rows: file under ``tests/`` that has them."""


def case_rows() -> dict[str, list[Case]]:
    """Operator (``domain::name`` outside ONNX's own domain) → its rows in the lists of this folder's test modules."""
    found: dict[int, Case] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.autograd.{path.stem}")
        for value in vars(module).values():
            marks = [m for m in getattr(value, "pytestmark", []) if getattr(m, "name", "") == "parametrize"]
            found |= {id(case): case for held in (value, *(m.args[1] for m in marks)) for case in _cases(held)}
    rows: dict[str, list[Case]] = {}
    for case in found.values():
        rows.setdefault(f"{case.domain}::{case.op_type}" if case.domain else case.op_type, []).append(case)
    return rows


def _cases(value: Any) -> Iterator[Case]:
    """The rows in a list, a dict or a list of lists."""
    if isinstance(value, Case):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _cases(inner)
