"""Checking the tensors of a request against the model, all violations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidInput, InvalidParameter, Violation
from explainsvc.info import TensorInfo


def check_feeds(feeds: Any, declared: Sequence[TensorInfo], frozen: int | None) -> dict[str, Array]:
    """``feeds`` as arrays, in the model's order.

    Args:
        feeds: As the user gave them; {input name: array}.
        declared: The model's inputs.
        frozen: Batch size that the exporter fixed; other numbers of items are run in groups, so axis 0 may differ.

    Raises:
        InvalidInput: Lists every missing, misspelt or ill-typed input, wrong shape, NaN.
    """
    names = {t.name for t in declared}
    if not isinstance(feeds, Mapping):
        found = Violation("inputs", f"is {type(feeds).__name__}, expected {{name: array}} with {', '.join(sorted(names))}")
        raise _unfit([found])
    violations = [
        Violation(f'inputs["{name}"]', f"is not an input of the model; inputs: {', '.join(sorted(names))}")
        for name in feeds
        if name not in names
    ]
    arrays = {}
    for tensor in declared:
        if tensor.name not in feeds:
            violations.append(Violation(f'inputs["{tensor.name}"]', f"is missing; expected {tensor.describe()}"))
            continue
        try:
            array = np.asarray(feeds[tensor.name])
        except ValueError:  # rows of different lengths
            violations.append(Violation(f'inputs["{tensor.name}"]', f"is not an array; expected {tensor.describe()}"))
            continue
        violations += _violations(array, tensor, frozen)
        arrays[tensor.name] = array.astype(object) if array.dtype.kind in "US" else widened(array)
    violations += _batch_violations(arrays, frozen)
    if violations:
        raise _unfit(violations)
    return arrays


def widened(array: Array) -> Array:
    """bfloat16 as float32, which holds all its numbers and is what everything is computed in."""
    return array.astype(np.float32) if array.dtype == bfloat16 else array


def _unfit(violations: Sequence[Violation]) -> InvalidInput:
    return InvalidInput("the inputs do not fit the model", violations=violations, to_do="`explainsvc inspect` lists the inputs")


def _violations(array: Array, tensor: TensorInfo, frozen: int | None) -> list[Violation]:
    field = f'inputs["{tensor.name}"]'
    found = []
    kind = "string" if array.dtype.kind in "USO" else str(array.dtype)
    array = widened(array)
    if (tensor.dtype, kind) == ("bfloat16", "float32"):
        if not np.array_equal(array, array.astype(bfloat16).astype(np.float32), equal_nan=True):
            found.append(Violation(f"{field}.dtype", "is float32, with numbers that bfloat16 does not hold; round them"))
    elif tensor.dtype not in ("", kind):
        found.append(Violation(f"{field}.dtype", f"is {kind}, expected {tensor.dtype}"))
    if tensor.shape is not None and not _fits(array.shape, tensor.shape, frozen):
        found.append(Violation(f"{field}.shape", f"is {list(array.shape)}, expected {tensor.describe()}"))
    if array.size == 0 and array.dtype.kind == "f":  # an empty list of axes or sizes means something
        found.append(Violation(field, "is empty"))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        found.append(Violation(field, "holds NaN or infinity"))
    return found


def _fits(shape: tuple[int, ...], declared: Sequence[int | str | None], frozen: int | None) -> bool:
    if len(shape) != len(declared):
        return False
    free = [axis == 0 and frozen is not None for axis in range(len(shape))]
    return all(f or not isinstance(d, int) or d == n for f, d, n in zip(free, declared, shape, strict=True))


def _batch_violations(arrays: Mapping[str, Array], frozen: int | None) -> list[Violation]:
    """With a frozen batch all inputs must have the same number of items."""
    if frozen is None or len({len(a) for a in arrays.values() if a.ndim}) <= 1:
        return []
    counts = ", ".join(f"{name} has {len(a)}" for name, a in arrays.items())
    return [Violation("inputs", f"hold different numbers of items: {counts}")]


def check_seed(seed: Any) -> int:
    """Of random numbers: numpy takes no negative ones."""
    if isinstance(seed, (int, np.integer)) and seed >= 0:
        return int(seed)
    raise InvalidParameter("the seed is not valid", violations=[Violation("seed", f"is {seed!r}, expected an integer ≥ 0")])
