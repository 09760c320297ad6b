"""Probe inputs: what a pass is verified on before anybody has sent a real input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.runtime import Session, ending_after

DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(bool)": np.bool_,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64,
}  # fmt: skip
"""onnxruntime's words for a value's type → numpy's."""
_FREE_SIZES = (8, 32, 64, 128, 224, 1)
"""Tried in turn for axes whose size the model leaves open (spatial, sequence)."""
_ITEMS = (2, 1)
"""Tried in turn for leading open axes: some exporters write an open batch that takes one item only."""
PROBE_SECONDS = 10.0
"""A loop whose condition our numbers never end must not hang whoever loads its model."""


def probe_inputs(session: Session, seconds: float = PROBE_SECONDS) -> dict[str, Array] | None:
    """Inputs that onnxruntime accepts for this model, or None where none of our guesses is accepted within ``seconds``.

    Symbolic axes of one name get one size; leading open axes are batches of 2, or of 1 where no 2 are taken.
    """
    with ending_after(seconds) as options:
        for feeds in _guesses(session):
            try:
                session.ort.run(None, feeds, options)
            except Exception:  # noqa: BLE001, S112  (a guess that the model does not take; the next one may do)
                continue
            return feeds
    return None


def _guesses(session: Session) -> Iterator[dict[str, Array]]:
    for items, size in product(_ITEMS, _FREE_SIZES):
        rng = np.random.default_rng(0)
        yield {i.name: _array(i.type, i.shape, items, size, rng) for i in session.ort.get_inputs()}


def another(feeds: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Other numbers in the shapes and types of ``feeds``."""
    rng = np.random.default_rng([seed])
    return {name: _redrawn(array, rng) for name, array in feeds.items()}


def _redrawn(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind == "O":
        return array
    drawn = rng.standard_normal(array.shape) if array.dtype.kind == "f" else rng.integers(0, 2, array.shape)
    return np.asarray(drawn).astype(array.dtype)


def _array(kind: str, shape: list[int | str | None], items: int, size: int, rng: np.random.Generator) -> Array:
    dims = [d if isinstance(d, int) else (items if axis == 0 else size) for axis, d in enumerate(shape)]
    if kind == "tensor(string)":
        return np.full(dims, "a", dtype=object)
    dtype = DTYPES.get(kind, np.float32)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(dims).astype(dtype)
    return rng.integers(0, 2, dims).astype(dtype)


def deviation(expected: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """Largest difference over all float outputs, relative to the output's largest magnitude; inf where shapes differ."""
    worst = 0.0
    for name, a in expected.items():
        b = found[name]
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            continue
        if a.shape != b.shape:
            return float("inf")
        if a.size:
            worst = max(worst, _relative(a, b))
    return worst


def _relative(a: Array, b: Array) -> float:
    finite = _finite(a)
    if not np.array_equal(finite, _finite(b)):
        return float("inf")
    if not finite.any():
        return 0.0
    x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
    return float(np.abs(x - y).max()) / max(float(np.abs(x).max()), 1e-12)


def _finite(array: Array) -> Array:
    """Masked scores are −∞ to ONNX and the lowest number of the type to onnxruntime: neither counts as finite."""
    return np.asarray(np.abs(array) < np.finfo(array.dtype).max)
