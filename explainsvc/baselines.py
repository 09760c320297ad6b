"""Baselines: what "absent" means for an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, Violation

NAMED = ("zero", "mean", "blur")
BLUR_SIGMA = 10.0
"""Pixels; Fong & Vedaldi 2017 blur with σ = 10."""


def baselines(spec: Any, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
    """The baseline of every wanted input, in its shape and type.

    Args:
        spec: A number, an array (one input), a name of NAMED, or {input name: any of these}.
        feeds: The inputs.
        wanted: Names of the inputs that are explained.

    Raises:
        InvalidParameter: Unknown name, wrong shape.
    """
    if isinstance(spec, Mapping):
        unknown = set(spec) - set(wanted)
        if unknown:
            raise _bad(f"names {sorted(unknown)}, which are not explained inputs ({', '.join(wanted)})")
        return {name: baseline(spec.get(name, 0.0), feeds[name]) for name in wanted}
    return {name: baseline(spec, feeds[name]) for name in wanted}


def baseline(spec: Any, x: Array) -> Array:
    """The baseline of one input. ``mean``: the mean per channel position of the item; ``blur``: Gaussian over spatial axes."""
    if isinstance(spec, str):
        if spec == "zero":
            return np.zeros_like(x)
        if spec == "mean":
            axes = tuple(range(1, x.ndim)) or (0,)
            return np.broadcast_to(x.mean(axis=axes, keepdims=True), x.shape).astype(x.dtype)
        if spec == "blur":
            return _blurred(x)
        raise _bad(f"is {spec!r}, expected a number, an array, or one of {', '.join(NAMED)}")
    given = np.asarray(spec)
    try:
        return np.array(np.broadcast_to(given, x.shape), dtype=x.dtype)
    except ValueError as error:
        raise _bad(f"has shape {list(given.shape)}, which does not broadcast to the input's {list(x.shape)}") from error


def _blurred(x: Array) -> Array:
    """Blurred over every axis longer than 4 except the first: positions, not channels of a colour image."""
    if x.ndim < 3:
        raise _bad("is 'blur', which needs an input with spatial axes")
    sigma = [0.0 if axis == 0 or n <= 4 else BLUR_SIGMA for axis, n in enumerate(x.shape)]
    return np.asarray(ndimage.gaussian_filter(x.astype(np.float64), sigma)).astype(x.dtype)


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the baseline is not valid", violations=[Violation("parameters.baseline", description)])
