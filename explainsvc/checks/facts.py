"""What a report says of arrays and of the machine, so that others can tell whether they have the same."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array

STRING = "string"
"""The type of arrays of strings."""


def sha256_of(array: Array) -> str:
    """Of the bytes in C order; of the JSON list where the elements are strings."""
    strings = array.dtype.kind in "OUS"
    data = json.dumps(array.tolist()).encode() if strings else np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(data).hexdigest()


def array_facts(array: Array) -> dict[str, Any]:
    """Digest, shape and type."""
    dtype = STRING if array.dtype.kind == "O" else str(array.dtype)
    return {"digest": sha256_of(array), "shape": list(array.shape), "dtype": dtype}


def as_recorded(given: Any, dtype: str) -> Array:
    """What a caller gives, in the type that the model takes."""
    return np.asarray(given, object if dtype == STRING else np.dtype(dtype))


@cache
def machine() -> str:
    """Processor and system, as far as they tell how numbers are rounded."""
    return f"{_processor()}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    """The processor's name and whether it has the instructions that choose onnxruntime's kernels."""
    facts = Path("/proc/cpuinfo")
    if not facts.is_file():
        return platform.processor() or "unknown processor"
    entries = dict(line.split(":", 1) for line in facts.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in entries.items()}
    known = set(fields.get("flags", "").split())
    kernels = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in known]
    return " ".join([fields.get("model name", "unknown processor"), *kernels])
