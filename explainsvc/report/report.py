"""The report of an audit: a replayable header, typed rows, verdicts, and the maps to draw."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidInput, InvalidParameter

FORMAT = "explainsvc.report/1"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Report:
    """What an audit found, and everything needed to compute it again.

    ``header`` is JSON-able. Its keys (a missing one is left out of the page, never invented)::

        model     ModelInfo.to_json(), and optionally "name"
        inputs    {input: {"digest": sha256, "shape": [...], "dtype": "float32"}}
        equality  {"max_error": float, "n": int, "rule": str}  the explained graph against the original
        target    description of what is explained
        methods   {method: {"parameters": {...}, "seed": int, "caveats": [...], "max_residual": float | None}}
        checks    {check: {"parameters": {...}, "seed": int, "rule": the verdict's rule in words}}
        controls  methods that are only there for comparison, such as ["random", "sobel"]
        versions  {package: version}
        seed      the audit's seed
    """

    header: dict[str, Any]
    rows: tuple[Row, ...]
    verdicts: dict[tuple[str, str], str]
    """(method, check) → verdict word."""
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    """(method, check) → the numbers that led to the verdict, as a sentence."""
    maps: dict[str, Array] = field(default_factory=dict)
    """method → attributions of the first few items, [item, …the input's shape]; for figures only."""
    images: Array | None = None
    """The inputs that ``maps`` belong to, [item, …]."""

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``json.dumps`` takes; the keys of ``verdicts`` become fields."""
        return {
            "format": FORMAT,
            "header": self.header,
            "verdicts": [
                {"method": method, "check": check, "verdict": verdict, "reason": self.reasons.get((method, check), "")}
                for (method, check), verdict in self.verdicts.items()
            ],
            "rows": [row.to_json() for row in self.rows],
            "maps": {method: _array_to_json(values) for method, values in self.maps.items()},
            "images": None if self.images is None else _array_to_json(self.images),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """The report that ``to_json`` wrote; anything else is refused as InvalidInput."""
        if document.get("format") != FORMAT:
            raise InvalidInput(
                f"format is {document.get('format')!r}",
                where="report",
                expected=f"{FORMAT!r}",
                to_do="Give a report.json written by `explainsvc audit`",
            )
        try:
            return cls._from_fields(document)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"a field is missing or ill-typed ({type(error).__name__}: {error})",
                where="report",
                to_do="Give a report.json as `explainsvc audit` wrote it",
            ) from error

    @classmethod
    def _from_fields(cls, document: Mapping[str, Any]) -> Report:
        verdicts = document["verdicts"]
        images = document.get("images")
        return cls(
            header=dict(document["header"]),
            rows=tuple(Row.from_json(row) for row in document["rows"]),
            verdicts={(v["method"], v["check"]): v["verdict"] for v in verdicts},
            reasons={(v["method"], v["check"]): v["reason"] for v in verdicts if v.get("reason")},
            maps={method: _array_from_json(values) for method, values in document.get("maps", {}).items()},
            images=None if images is None else _array_from_json(images),
        )

    def to_html(self) -> str:
        """One self-contained page."""
        from explainsvc.report.html import render_report  # the page imports this module for its types

        return render_report(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``.json`` or ``.html``, by the file's suffix."""
        target = Path(path)
        if target.suffix == ".json":
            text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        elif target.suffix == ".html":
            text = self.to_html()
        else:
            raise InvalidParameter(
                f"cannot write a report as {target.suffix or 'a file without suffix'!r}",
                where=str(target),
                expected=".json or .html",
            )
        target.write_text(text, encoding="utf-8")


def _array_to_json(values: Array) -> dict[str, Any]:
    """Little-endian float32 (or uint8 for pictures) as base64: figures need no more."""
    plain = np.ascontiguousarray(values, dtype="u1" if values.dtype == np.uint8 else "<f4")
    data = base64.b64encode(plain.tobytes()).decode("ascii")
    return {"shape": list(plain.shape), "dtype": plain.dtype.name, "data": data}


def _array_from_json(fields: Mapping[str, Any]) -> Array:
    kind = {"uint8": "u1", "float32": "<f4"}[fields["dtype"]]
    return np.frombuffer(base64.b64decode(fields["data"], validate=True), kind).reshape(fields["shape"])
