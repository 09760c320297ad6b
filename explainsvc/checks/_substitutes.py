"""What takes the place of a removed part: another picture that is fixed from the start, or its known neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baseline
from explainsvc.checks._imputation import imputed
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.method import Request
from explainsvc.methods.sobel import spatial_axes
from explainsvc.weights import seed_sequence

SUBSTITUTES = (
    "what takes the place: a number, an array, zero, mean (of the item), blur, noise (uniform between the item's extremes), "
    "inpaint (from the pixels left), or {input: any of these}"
)


@dataclass(frozen=True)
class Substitute:
    """What replaces parts of one input.

    Attributes:
        x: The untouched input, [item, *item shape].
        other: What stands in, of the same shape; None: each missing pixel is the mean of its neighbours.
        noise: Added to imputed pixels, of the same shape; None for nothing.
    """

    x: Array
    other: Array | None
    noise: Array | None = None

    def put(self, gone: Array) -> Array:
        """The input with the elements replaced where ``gone`` (bool [item, element])."""
        if self.other is not None:
            return self._pairs.take(self._first + gone.reshape(-1)).reshape(self.x.shape)
        missing = gone.reshape(self.x.shape)
        filled = np.stack([_inpainted(x, m) for x, m in zip(self.x, missing, strict=True)])
        noisy = filled if self.noise is None else filled + np.where(missing, self.noise, 0)
        return noisy.astype(self.x.dtype)

    @cached_property
    def _pairs(self) -> Array:
        """Each element and what stands in beside it: to take one of both has no branch, as np.where has."""
        assert self.other is not None
        return np.stack(np.broadcast_arrays(self.x, self.other), axis=-1).reshape(-1)

    @cached_property
    def _first(self) -> Array:
        return 2 * np.arange(self.x.size)

    def of(self, items: slice) -> Substitute:
        """The same for some of the items."""
        cut = (None if a is None else a[items] for a in (self.other, self.noise))
        return Substitute(self.x[items], *cut)


def substitutes(spec: Any, request: Request, fixed: bool = False) -> dict[str, Substitute]:
    """What replaces parts of every explained input; random numbers are drawn once, so that steps build on each other.

    Args:
        spec: See SUBSTITUTES.
        request: Its inputs and seed.
        fixed: Only what does not depend on what is replaced: no inpainting.

    Raises:
        InvalidParameter: Unknown name, wrong shape, or an input that cannot be inpainted.
    """
    named = spec if isinstance(spec, Mapping) else dict.fromkeys(request.wanted, spec)
    unknown = set(named) - set(request.wanted)
    if unknown:
        raise _bad(f"names {sorted(unknown)}, which are not explained inputs ({', '.join(request.wanted)})")
    if fixed and any(isinstance(value, str) and value == "inpaint" for value in named.values()):
        raise _bad("is 'inpaint', expected what does not depend on the window")
    return {name: _substitute(named.get(name, 0.0), name, request) for name in request.wanted}


def _substitute(spec: Any, name: str, request: Request) -> Substitute:
    x = by_item(request, name)
    if isinstance(spec, str) and spec == "inpaint":
        require_picture(name, x)
        return Substitute(x, None)
    if isinstance(spec, str) and spec == "noise":
        return Substitute(x, _uniform(x, np.random.default_rng(seed_sequence(request.seed, f"noise/{name}"))))
    return Substitute(x, baseline(spec, x))


def by_item(request: Request, name: str) -> Array:
    """An input as [item, *item shape], one item where the model has no batch axis."""
    x = request.feeds[name]
    return x if request.batched else x[None]


def _uniform(x: Array, rng: np.random.Generator) -> Array:
    axes = tuple(range(1, x.ndim))
    low, high = x.min(axis=axes, keepdims=True), x.max(axis=axes, keepdims=True)
    return np.asarray((low + (high - low) * rng.random(x.shape)).astype(x.dtype))


def require_picture(name: str, x: Array) -> None:
    """Only pixels have neighbours.

    Raises:
        InvalidParameter: The items are no pictures.
    """
    if spatial_axes(x.shape[1:]) is None or x.dtype.kind != "f":
        raise _bad(f'inpaints "{name}" of shape {list(x.shape)}, which has no two spatial axes of at least 3 elements')


def _inpainted(x: Array, missing: Array) -> Array:
    """One item, its channels one by one."""
    axes = spatial_axes(x.shape)
    assert axes is not None
    planes, gone = (np.moveaxis(a, axes, (-2, -1)).reshape(-1, *(x.shape[a] for a in axes)) for a in (x, missing))
    moved = np.moveaxis(x, axes, (-2, -1)).shape
    return np.moveaxis(imputed(planes, gone).reshape(moved), (-2, -1), axes)


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the substitute is not valid", violations=[Violation("parameters.baseline", description)])
