"""Cards: what a method or check computes, in fixed headings, read from its own docstring and its Params."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from explainsvc.axioms import Claims
from explainsvc.errors import InvalidParameter, Violation

HEADINGS = ("Computes", "Output", "Needs", "Cost", "Properties", "Limits", "Source", "Differs")
KINDS = {
    "float": "a number",
    "int": "an integer",
    "bool": "true or false",
    "str": "a string",
    "value": "a number, an array or a name",
    "ints": "an integer or a list of integers",
    "array": "an array",
    "object": "an object",
    "table": "a list, an object, or the text of one as JSON or TOML",
}


@dataclass(frozen=True)
class ParameterCard:
    """One parameter: ``type`` is one of KINDS; ``range`` says in words what is allowed."""

    name: str
    type: str
    default: Any
    description: str
    range: str = ""


@dataclass(frozen=True)
class Card:
    """What a method or check is; every field is filled (a test holds this), but for the axioms of what claims none."""

    name: str
    summary: str
    computes: str
    output: str
    parameters: tuple[ParameterCard, ...]
    needs: str
    cost: str
    properties: str
    limits: str
    source: str
    differs: str
    axioms: Claims = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and strings."""
        result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return result


def param(
    default: Any,
    kind: str,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
) -> Any:
    """A field of a ``Params`` dataclass with its type, meaning and range (inclusive bounds).

    ``beside``: other parameters that must be given where this one is.
    """
    assert kind in KINDS, kind
    return dataclasses.field(
        default=default,
        metadata={
            "kind": kind,
            "description": description,
            "low": low,
            "high": high,
            "choices": choices,
            "beside": beside,
        },
    )


def read_card(name: str, docstring: str | None, params: type, axioms: Claims = MappingProxyType({})) -> Card:
    """The card of a module: its docstring's headings, the fields of its Params, and the axioms that it claims."""
    lines = (docstring or "").strip().splitlines()
    sections: dict[str, str] = {}
    current = ""
    for line in lines[1:]:
        head, _, rest = line.partition(":")
        if head in HEADINGS:
            current, line = head, rest
        if current:
            sections[current] = f"{sections.get(current, '')} {line.strip()}".strip()
    fields = {heading.lower(): sections.get(heading, "") for heading in HEADINGS}
    summary = lines[0].partition(": ")[2] if lines else ""
    parameters = tuple(_parameter(f) for f in dataclasses.fields(params))
    return Card(name=name, summary=summary, parameters=parameters, axioms=dict(sorted(axioms.items())), **fields)


def _parameter(field: dataclasses.Field[Any]) -> ParameterCard:
    return ParameterCard(field.name, field.metadata["kind"], field.default, field.metadata["description"], _range(field.metadata))


def _range(metadata: Mapping[str, Any]) -> str:
    if metadata["choices"]:
        return " | ".join(metadata["choices"])
    low, high = metadata["low"], metadata["high"]
    if low is not None and high is not None:
        return f"{low:g} … {high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else ""


P = TypeVar("P")


def read_params(params: type[P], given: Mapping[str, Any], owner: str) -> P:
    """Builds ``params`` from what a user gave, over any surface.

    Raises:
        InvalidParameter: Lists every unknown name, wrong type and value out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(params)}  # type: ignore[arg-type]
    violations, values = [], {}
    for name, value in given.items():
        if name not in fields:
            known = ", ".join(sorted(fields)) or "none"
            violations.append(Violation(f"parameters.{name}", f"is not a parameter of {owner}; known: {known}"))
            continue
        try:
            values[name] = _convert(value, fields[name].metadata)
        except (TypeError, ValueError) as error:
            violations.append(Violation(f"parameters.{name}", str(error)))
        missing = [other for other in fields[name].metadata["beside"] if other not in given]
        violations += [Violation(f"parameters.{other}", f"is required where {name} is given") for other in missing]
    if violations:
        raise InvalidParameter(f"parameters of {owner} are not valid", violations=violations)
    return params(**values)


def _convert(value: Any, metadata: Mapping[str, Any]) -> Any:
    """``value`` as its kind; JSON and protobuf give 50.0 for 50 and lists for arrays."""
    kind = metadata["kind"]
    converted = _CONVERT[kind](value)
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    outside = (low is not None and converted < low) or (high is not None and converted > high)
    if outside:
        raise ValueError(f"is {converted}, expected {_range(metadata)}")
    if choices and isinstance(converted, str) and converted not in choices:
        raise ValueError(f"is {converted!r}, expected {_range(metadata)}")
    return converted


def _wrong(value: Any, kind: str) -> ValueError:
    return ValueError(f"is {value!r} ({type(value).__name__}), expected {KINDS[kind]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def _float(value: Any) -> float:
    if not _is_number(value) or not np.isfinite(value):
        raise _wrong(value, "float")
    return float(value)


def _int(value: Any) -> int:
    if not _is_number(value) or not np.isfinite(value) or value != int(value):
        raise _wrong(value, "int")
    return int(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong(value, "bool")
    return bool(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "str")
    return value


def _value(value: Any) -> Any:
    if isinstance(value, (str, dict)):
        return value
    return _float(value) if _is_number(value) else _array(value)


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(_int(v) for v in value) if isinstance(value, (list, tuple, np.ndarray)) else (_int(value),)


def _array(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise _wrong(value, "array") from error
    if array.dtype.kind not in "fiub":
        raise _wrong(value, "array")
    return array


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, "object")
    return dict(value)


def _table(value: Any) -> Any:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise _wrong(value, "table")
    return value


_CONVERT = {
    "float": _float, "int": _int, "bool": _bool, "str": _str, "value": _value, "ints": _ints, "array": _array, "object": _object,
    "table": _table,
}  # fmt: skip


LARGE = 10_000
"""Elements above which an array is recorded by its digest: what is needed to tell it, not to draw it."""


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays as nested lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def recorded(params: Any, large: int = LARGE) -> dict[str, Any]:
    """All fields of a Params as JSON can hold them: arrays of more than ``large`` elements by shape, type and sha256."""
    return {f.name: plain(_digested(getattr(params, f.name), large)) for f in dataclasses.fields(params)}


def _digested(value: Any, large: int) -> Any:
    if isinstance(value, np.ndarray) and value.size > large:
        sha256 = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": sha256}
    return {k: _digested(v, large) for k, v in value.items()} if isinstance(value, Mapping) else value
