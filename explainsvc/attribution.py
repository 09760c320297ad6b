"""The result of an explanation, with everything needed to repeat it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import onnxruntime

from explainsvc.autograd.shapes import Array
from explainsvc.cards import plain
from explainsvc.runtime import providers
from explainsvc.target import ResolvedTarget


@dataclass(frozen=True)
class Attribution:
    """Signed, unscaled values per explained input.

    Attributes:
        method: Name of the method.
        values: Input name → array of exactly the input's shape, in units of S (or S per unit of input: see the card).
        target: What was explained.
        output_value: S per item, float64 [batch].
        baseline_value: S at the baseline, [batch], for methods that have one.
        residual: Σ values − (S − S at the baseline), for methods that claim completeness: [batch], or [1] over all items
            where an explained input is shared by them (has no batch axis).
        parameters: In force, defaults included; JSON-able.
        seed: Of all random numbers.
        model_digest: sha256 of the model.
        versions: explainsvc, onnxruntime and its provider, numpy, python.
        caveats: What a reader of the map must know.
        timings: Milliseconds by stage (queue, load, compute), where a server computed it; no part of ``to_json``, which a
            repetition must reproduce.
    """

    method: str
    values: dict[str, Array]
    target: ResolvedTarget
    output_value: Array
    baseline_value: Array | None
    residual: Array | None
    parameters: dict[str, Any]
    seed: int
    model_digest: str
    versions: dict[str, str]
    caveats: tuple[str, ...]
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; values as nested lists."""
        return {
            "method": self.method,
            "values": {
                name: {"dtype": str(v.dtype), "shape": list(v.shape), "data": v.tolist()} for name, v in self.values.items()
            },
            "target": target_json(self.target),
            "output_value": plain(self.output_value),
            "baseline_value": plain(self.baseline_value),
            "residual": plain(self.residual),
            "parameters": plain(self.parameters),
            "seed": self.seed,
            "model_digest": self.model_digest,
            "versions": self.versions,
            "caveats": list(self.caveats),
        }


def target_json(target: ResolvedTarget) -> dict[str, Any]:
    """What was explained, without the seed."""
    index = None if target.index is None else [list(i) for i in target.index]
    return {"output": target.output, "description": target.description, "index": index}


def value_caveats(values: Mapping[str, Array], zeros: bool = True) -> tuple[str, ...]:
    """What a look at the numbers alone must tell: elements that are not finite and (``zeros``) inputs that got only zeros."""
    found = []
    for name, array in values.items():
        bad = array.size - np.count_nonzero(np.isfinite(array))
        if bad:
            found.append(f'{bad} of {array.size} values of "{name}" are not finite')
        elif zeros and array.size and not array.any():
            found.append(f'every value of "{name}" is zero')
    return tuple(found)


def versions() -> dict[str, str]:
    """What computed a result."""
    return {
        "explainsvc": _own_version(),
        "onnxruntime": onnxruntime.__version__,
        "provider": providers()[0],
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@cache
def _own_version() -> str:
    """Looked up once: reading the metadata takes half a millisecond."""
    try:
        return version("explainsvc")
    except PackageNotFoundError:
        return "0+source"
