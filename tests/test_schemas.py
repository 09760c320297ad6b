"""The JSON Schemas of parameters say what the reader of parameters does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from explainsvc.cards import read_params
from explainsvc.check import Check
from explainsvc.checks import CHECKS
from explainsvc.errors import InvalidParameter
from explainsvc.method import Method
from explainsvc.methods import METHODS
from explainsvc.schemas import schema_of

ALL: dict[str, Method | Check] = {**METHODS, **CHECKS}
VALUES: list[Any] = [
    None, True, -1, 0, 0.5, 1, 1.0, 2.5, 1e9, 1e300, "zebra", "", [], [1, 2], [1.5], [1, True], [[1, 2], [3, 4]], ["a"], [None],
    {}, {"x": 1},
]  # fmt: skip


def questions(params: type) -> Iterator[dict[str, Any]]:
    """Parameters of every type and at every bound, one by one and all of them together, and one that no method has."""
    yield {"zebra": 1}
    fields = dataclasses.fields(params)
    for field in fields:
        about = field.metadata
        edges = [bound + step for bound in (about["low"], about["high"]) if bound is not None for step in (-1, 0, 1)]
        for value in (*VALUES, *edges, *about["choices"]):
            yield {field.name: value}
    for value in VALUES:
        yield {field.name: value for field in fields}


def accepted(params: type, given: dict[str, Any]) -> bool:
    """Whether the reader takes them."""
    try:
        read_params(params, given, "method")
    except InvalidParameter:
        return False
    return True


def test_schema_and_reader_agree() -> None:
    """For every method and check, whatever the schema refuses the reader refuses, and the other way round."""
    wrong, refused = [], 0
    for name, one in ALL.items():
        schema = schema_of(one.params)
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        for given in questions(one.params):
            valid = validator.is_valid(given)
            refused += not valid
            if valid != accepted(one.params, given):
                wrong.append((name, given))
    assert not wrong
    assert refused > 1000


def test_defaults_fit() -> None:
    """Every default that is a value is one that its own schema accepts."""
    for name, one in ALL.items():
        schema = schema_of(one.params, name)
        validator = Draft202012Validator(schema)
        for key, about in schema["properties"].items():
            if "default" in about and not schema.get("dependentRequired", {}).get(key):
                assert validator.is_valid({key: about["default"]}), (name, key)


@pytest.mark.parametrize("name", ["smoothgrad"])
def test_a_schema(name: str) -> None:
    """Bounds, types, defaults and meanings are in it."""
    about = schema_of(METHODS[name].params)["properties"]["samples"]
    assert about == {"type": "integer", "minimum": 2, "maximum": 100_000, "default": 50, "description": "noisy copies"}
