"""JSON Schemas (draft 2020-12) of the parameters of methods and checks, from the same fields that read them.

What a schema refuses :func:`explainsvc.cards.read_params` refuses, and the other way round, with one exception that a schema
cannot say: the rows of an array must be equally long.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from explainsvc.cards import plain

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NUMBERS = {"$ref": "#/$defs/numbers"}
DEFINITIONS = {"numbers": {"type": ["number", "boolean", "array"], "items": NUMBERS}}
"""An array of any rank: a number, a truth value, or a list of such arrays."""
TYPES: dict[str, dict[str, Any]] = {
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "value": {"anyOf": [{"type": ["string", "object"]}, NUMBERS]},
    "ints": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
    "array": NUMBERS,
    "object": {"type": "object"},
    "table": {"type": ["string", "array", "object"]},
}
"""By the kinds of :data:`explainsvc.cards.KINDS`."""


def schema_of(params: type, title: str = "") -> dict[str, Any]:
    """The schema of an object with a method's parameters."""
    properties = {field.name: _property(field) for field in dataclasses.fields(params)}
    beside = {field.name: list(field.metadata["beside"]) for field in dataclasses.fields(params) if field.metadata["beside"]}
    refers = any("$ref" in str(each) for each in properties.values())
    return {
        "$schema": DRAFT,
        **({"title": title} if title else {}),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"dependentRequired": beside} if beside else {}),
        **({"$defs": DEFINITIONS} if refers else {}),
    }


def _property(field: dataclasses.Field[Any]) -> dict[str, Any]:
    metadata = field.metadata
    default = {} if field.default is None else {"default": plain(field.default)}
    return {**TYPES[metadata["kind"]], **_bounds(metadata), **default, "description": metadata["description"]}


def _bounds(metadata: Mapping[str, Any]) -> dict[str, Any]:
    found = {"minimum": metadata["low"], "maximum": metadata["high"]}
    bounds = {word: bound for word, bound in found.items() if bound is not None}
    return bounds | ({"enum": list(metadata["choices"])} if metadata["choices"] else {})
