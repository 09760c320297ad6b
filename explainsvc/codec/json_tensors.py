"""Tensors ↔ JSON, where numbers are all alike and NaN is none: refused on both ways, by name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16

from explainsvc.errors import InvalidInput, InvalidRequest, Violation

Array = npt.NDArray[Any]
MOST_VALUES, MOST_LISTS = 2**20, 2**16
"""What a body may hold: as objects of Python they are many times as large, and numpy reads them without a pause."""
ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def from_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        InvalidInput: It is no JSON object by RFC 8259, which knows no NaN and no infinity; a number beyond float64 is one.
    """
    many = body.count(b",") >= MOST_VALUES or body.count(b"[") + body.count(b"{") > MOST_LISTS
    if many:
        expected = f"at most {MOST_VALUES} values in {MOST_LISTS} lists and objects"
        raise InvalidInput("the body holds too much for JSON", where="body", expected=expected, to_do="Send it over gRPC")
    try:
        document = json.loads(body.decode(), parse_constant=_refused, parse_float=_finite, parse_int=_integer)
        if SURROGATE.search(body):
            json.dumps(document, ensure_ascii=False).encode()  # halves of surrogate pairs are no text
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is no JSON: {error!s:.200}", where="body", expected="a JSON object in UTF-8") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"the body is a JSON {type(document).__name__}", where="body", expected="a JSON object")
    return document


def written(document: Any) -> bytes:
    """The body of an answer, in pieces, between which other threads get their turn."""
    return "".join(ENCODER.iterencode(document)).encode()


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


# These two are functions of Python so that other threads get their turn while a large body is read.
def _integer(text: str) -> int:
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is beyond every float")
    return number


def to_array(values: Any, dtype: str) -> Array:
    """Nested lists as an array of a type of ours; ValueError where a value would have to change for that."""
    if dtype == "string":
        return _texts(values)
    try:
        array = np.asarray(values)
    except ValueError:  # numpy's words are of "inhomogeneous parts"
        raise ValueError("has rows of different lengths") from None
    wanted = np.dtype(dtype or "float32")
    floating = wanted.kind == "f" or wanted == bfloat16
    if array.size == 0:
        return array.astype(wanted)
    if array.dtype.kind not in ("b" if wanted.kind == "b" else "iuf"):
        raise ValueError(f"holds other values than those of {wanted}")
    with np.errstate(all="ignore"):
        found = array.astype(wanted)
    held = np.isfinite(found) if floating else found == array
    if not held.all():
        raise ValueError(f"holds numbers that no {wanted} holds")
    return found


def _texts(values: Any) -> Array:
    array = np.asarray(values, dtype=object)
    if not all(isinstance(text, str) for text in array.ravel()):
        raise ValueError("holds other values than texts, or rows of different lengths")
    return array


def require_finite(arrays: Mapping[str, Array]) -> None:
    """Nothing that JSON cannot hold; InvalidRequest otherwise."""
    broken = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if broken:
        violations = [Violation(f'outputs["{name}"]', "holds NaN or infinity, which JSON has no numbers for") for name in broken]
        raise InvalidRequest("the answer cannot be written as JSON", violations=violations, to_do="Ask over gRPC")
