"""Static shapes: what shape inference knows of a value, and what broadcasting makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

Dim: TypeAlias = int | str | None
"""A static length, a symbol, or unknown."""
Shape: TypeAlias = tuple[Dim, ...]
Array: TypeAlias = npt.NDArray[Any]


def shape_of(value: ir.Value) -> Shape | None:
    """The inferred shape: static dimensions as int, symbolic ones as str, unknown ones as None."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape numpy broadcasting gives; None where a rank is unknown, None per axis that cannot be told."""
    known = [s for s in shapes if s is not None]
    if len(known) < len(shapes) or not known:
        return None
    rank = max(len(s) for s in known)
    columns = [[s[i - rank + len(s)] for s in known if i - rank + len(s) >= 0] for i in range(rank)]
    return tuple(_joined(column) for column in columns)


def _joined(dims: Sequence[Dim]) -> Dim:
    """The broadcast of the dimensions of one axis."""
    others = [d for d in dims if d != 1]
    if not others:
        return 1
    static = [d for d in others if isinstance(d, int)]
    if static:
        return static[0]
    return others[0] if len(set(others)) == 1 else None


def broadcast_axes(small: Shape | None, large: Shape | None) -> list[int] | None:
    """Axes of ``large`` along which ``small`` was broadcast; None where only run time can tell."""
    if small is None or large is None:
        return None
    lead = len(large) - len(small)
    axes = list(range(lead))
    for axis, dim in enumerate(small, start=lead):
        if dim == 1:
            axes += [axis] if large[axis] != 1 else []
        elif not isinstance(dim, int) and (dim is None or dim != large[axis]):
            return None
    return axes
