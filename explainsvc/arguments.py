"""What people type for the command line's arguments, as values: targets, parameters, inputs, pixels' ranges."""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16

from explainsvc.cards import Card

Array = npt.NDArray[Any]
ARRAYS = frozenset({"array", "value"})
"""Parameter types that an ``.npy`` can fill."""
VOID = np.dtype("V2")
"""What numpy's files call bfloat16."""
ARG_MAX = "argmax"
"""The largest element of an output, as a target."""


class UsageError(Exception):
    """The command line asks for something that does not exist or does not fit together; exit code 2."""


def target(text: str) -> Any:
    """``argmax`` · ``3`` · ``name:3`` · JSON as in Python: ``[3, 5]``, ``{"output": "logits", "index": 3, "against": 5}``."""
    if text.lstrip()[:1] in ("{", "["):
        return _seed_as_array(_json(text))
    output, _, index = text.rpartition(":")
    if index == ARG_MAX:
        return {"output": output} if output else None
    try:
        return {"output": output, "index": int(index)} if output else int(index)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither an index, NAME:INDEX, argmax nor JSON") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None


def _seed_as_array(value: Any) -> Any:
    """A seed becomes an array; anything else stays."""
    if not isinstance(value, dict):
        return value
    try:
        return value | ({"seed": np.asarray(value["seed"], np.float32)} if "seed" in value else {})
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError("the seed is not an array of numbers") from None


def parameter(text: str) -> tuple[str, str]:
    """``key=value``, still text: only the method's card knows the type."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def typed(card: Card | None, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The parameters as values of the types that the card declares; unknown names stay for the method to refuse."""
    kinds = {p.name: p.type for p in card.parameters} if card is not None else {}
    return {key: _value(text, kinds.get(key, "")) for key, text in given}


def _value(text: str, kind: str) -> Any:
    """JSON where it is JSON (``1e-6``, ``true``, ``null``, ``[0, 1]``), an array for ``FILE.npy``, else the text.

    Of a table the text itself, or what a file holds: ``@rules.toml``.
    """
    if kind == "table":
        return read_text(text[1:]) if text.startswith("@") else text
    if kind == "str":
        return text
    if kind in ARRAYS and text.endswith(".npy"):
        return read_array(text)
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _named_literal(text)


def _named_literal(text: str) -> Any:
    """Python's spellings of the three JSON names, since people type them; other text is text."""
    return {"True": True, "False": False, "None": None}.get(text, text)


def by_name(cards: Mapping[str, Card], given: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """``NAME.key=value`` of several: {method or check: parameters}."""
    grouped: dict[str, list[tuple[str, str]]] = {}
    for path, value in given:
        name, dot, key = path.partition(".")
        if not (dot and key):
            raise UsageError(f"-p {path}={value}: there are several methods or checks, write NAME.{path}={value}")
        grouped.setdefault(name, []).append((key, value))
    return {name: typed(cards.get(name), pairs) for name, pairs in grouped.items()}


def names(text: str) -> list[str]:
    """``a,b,c`` as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def methods(text: str) -> list[str]:
    """``a,b,c`` as at least one name."""
    found = names(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no method")
    return found


def step(text: str) -> int | None:
    """``all`` (None) or the number of one step."""
    if text == "all":
        return None
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return int(text)


def number(text: str) -> float:
    """``0.5`` or a fraction such as ``1/255``."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a fraction") from None


def numbers(text: str) -> tuple[float, ...]:
    """``0.485,0.456,0.406`` as numbers."""
    return tuple(number(part) for part in text.split(","))


def size(text: str) -> tuple[int, int]:
    """``224x224``: height, width."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH") from None
    if height < 1 or width < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: height and width are positive")
    return height, width


def read_inputs(path: str) -> dict[str, Array]:
    """The arrays of an ``.npz``: its keys are the model's input names. Pickled objects are refused."""
    loaded = _load(path)
    if isinstance(loaded, np.ndarray):
        raise UsageError(f"{path} holds one array; expected an .npz whose keys are the model's input names")
    with loaded:
        return {key: _member(path, loaded, key) for key in loaded.files}


def read_array(path: str) -> Array:
    """The array of an ``.npy``."""
    loaded = _load(path)
    if not isinstance(loaded, np.ndarray):
        raise UsageError(f"{path} holds several arrays; expected an .npy with one")
    return loaded


def read_text(path: str) -> str:
    """A file of text in UTF-8, its line ends as they are."""
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file")
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, one token or name each; an empty line is an empty token."""
    lines = read_text(path).split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _load(path: str) -> Any:
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file")
    try:
        # from memory: numpy leaves the file open when it is a torn archive
        return np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        raise UsageError(f"{path} is not a NumPy file; expected numeric arrays as numpy.save(z) writes them") from None


def _member(path: str, archive: Any, key: str) -> Array:
    try:
        array = np.asarray(archive[key])
        return array.view(bfloat16) if array.dtype == VOID else array
    except (ValueError, EOFError, OSError, zipfile.BadZipFile):
        raise UsageError(f"{path}: {key!r} cannot be read; expected a whole array without Python objects") from None
