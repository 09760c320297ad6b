"""rise: Which positions raise the target, seen through thousands of random masks.

Computes: 1/(N p) Σ_k S(x ⊙ m_k + x′ ⊙ (1 − m_k)) m_k with m_k random cells (1 with probability p), upsampled and shifted.
Output: Signed, the input's shape, in units of S: the mean of S given that the element is seen; the same in every channel.
Needs: Nothing of the model: any model that onnxruntime runs, trees included.
Cost: `samples` forwards per item, stacked in batches; masks are drawn as they are needed.
Properties: Reproducible: all masks come from the request's seed, whatever the batch size. Unbiased: `standard_error` is the
mean over the elements of the estimate's standard error (standard deviation of S m / p over √N).
Limits: Only differences between positions mean something: all share the mean of S. Fine details need many masks.
Source: Petsiuk, Das, Saenko 2018, arXiv:1806.07421, equation 6 and section 3.2; N = 4000, p = 0.5, 7 × 7 cells are its defaults.
Differs: Masked elements fade to any baseline; interpolation is clamped at the edges (the authors' code mirrors there); positions
of any number of axes; where an input has none, every element (of integers: token) is a cell of its own and masks are sharp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.features import result_type
from explainsvc.method import Method, Request, Result, silent
from explainsvc.methods._moments import standard_error, telling
from explainsvc.methods._positions import along, interpolation, position_axes
from explainsvc.variations import per_variation, split_array, target_values

NOISY = 0.5
"""Standard error over the map's standard deviation from which a caveat says that the map may be noise."""


@dataclass(frozen=True)
class Params:
    """The masks."""

    samples: int = param(4000, "int", "masks, N", low=2, high=10_000_000)
    grid: int = param(7, "int", "cells per axis", low=1, high=1000)
    probability: float = param(0.5, "float", "p: how often a cell is seen", low=0.01, high=1)
    baseline: Any = param(0.0, "value", "what hidden elements fade to: a number, an array, zero, mean, blur, {input: these}")
    axes: Any = param((), "ints", "axes of one item that hold positions; empty: those of convolutions and images")
    batch_size: int = param(32, "int", "items per run", low=1)


@dataclass(frozen=True)
class Masks:
    """How the masks of one input are drawn.

    Attributes:
        shape: Of one item.
        axes: Its axes with positions; without any, every element is a cell, or every token (entry of axis 0) if ``tokens``.
        tokens: Whether the item is a sequence of integers.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    tokens: bool

    def draw(self, rng: np.random.Generator, p: Params) -> Array:
        """One mask, of lengths that broadcast to the item."""
        if self.axes:
            return self._smooth(rng, p)
        cells = tuple(n if axis == 0 or not self.tokens else 1 for axis, n in enumerate(self.shape))
        return (rng.random(cells) < p.probability).astype(np.float32)

    def _smooth(self, rng: np.random.Generator, p: Params) -> Array:
        """grid cells an axis, upsampled to grid + 1 cells' size, and cut to the input at a random shift below one cell."""
        sizes = [self.shape[a] for a in self.axes]
        cells = rng.random([p.grid] * len(sizes)) < p.probability
        rows = [_shifted(n, p.grid, int(rng.integers(0, ceil(n / p.grid)))) for n in sizes]
        mask = along(rows, cells.astype(np.float32), range(len(sizes)))
        return mask.reshape([n if axis in self.axes else 1 for axis, n in enumerate(self.shape)])


@lru_cache(1024)
def _shifted(size: int, grid: int, shift: int) -> Array:
    """Rows ``shift`` … ``shift`` + size − 1 of the interpolation from ``grid`` cells to (grid + 1)·⌈size / grid⌉ positions."""
    whole = (grid + 1) * ceil(size / grid)
    rows = interpolation((np.arange(shift, shift + size) + 0.5) * grid / whole - 0.5, grid).astype(np.float32)
    rows.flags.writeable = False
    return rows


def run(request: Request, p: Params) -> Result:
    """Sums S m and its square over the masks; all inputs are masked together, each by masks of its own."""
    fade = baselines(p.baseline, request.feeds, request.wanted)
    kinds = {n: _masks(request, n, p) for n in request.wanted}
    rng = np.random.default_rng(request.seed)
    drawn: deque[dict[str, Array]] = deque()  # drawn, not yet scored: as many as one run holds

    def masked() -> Iterator[dict[str, Array]]:
        for _ in range(p.samples):
            drawn.append({n: kind.draw(rng, p) for n, kind in kinds.items()})
            yield {n: blended(request.feeds[n], fade[n], m) for n, m in drawn[-1].items()}

    moments = {n: [np.zeros(()), np.zeros(())] for n in request.wanted}
    lies = {n: (-1, *[1] * (request.feeds[n].ndim - 1)) if request.has_items(n) else () for n in request.wanted}
    told = telling(request, p.samples, lambda arrays: _shown(request, arrays))
    for k, score in enumerate(per_variation(request, masked(), target_values, split_array, p.batch_size)):
        for name, mask in drawn.popleft().items():
            # S of every item, or of all items for an input that they share
            each = score.reshape(lies[name]) if lies[name] else score.sum()
            seen = each / p.probability * mask
            moments[name] = [moments[name][0] + seen, moments[name][1] + seen**2]
        request.progress(k + 1, p.samples, "rise")
        if told is not silent:
            told(k + 1, *_moments(moments, k + 1))
    return _result(request, moments, p.samples)


def _masks(request: Request, name: str, p: Params) -> Masks:
    return Masks(request.item_shape(name), position_axes(request, name, p.axes), request.feeds[name].dtype.kind in "iu")


def blended(x: Array, baseline: Array, mask: Array) -> Array:
    """x ⊙ m + x′ ⊙ (1 − m) in the type of x, integers rounded."""
    mixed = x * mask + baseline * (1 - mask)
    return np.asarray(mixed if x.dtype.kind == "f" else np.rint(mixed), x.dtype)


def _result(request: Request, moments: dict[str, list[Array]], samples: int) -> Result:
    errors, caveats = {}, []
    means, variances = _moments(moments, samples)
    for name, mean in means.items():
        errors[name] = float(standard_error(variances[name], samples).mean())
        spread = float(np.mean([item.std() for item in (mean if request.has_items(name) else mean[None])]))
        if errors[name] > NOISY * spread:
            caveats.append(f'the map of "{name}" is noisy: its standard error is {errors[name]:.2g}, its spread {spread:.2g}; '
                           f"raise samples ({samples})")  # fmt: skip
    return Result(_shown(request, means), caveats=tuple(caveats), parameters={"standard_error": errors})


def _moments(sums: Mapping[str, list[Array]], samples: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Mean and variance (divided by the number of masks), from the sums of S m / p and of its square."""
    means = {name: first / samples for name, (first, _) in sums.items()}
    return means, {name: np.clip(second / samples - means[name] ** 2, 0, None) for name, (_, second) in sums.items()}


def _shown(request: Request, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """In the inputs' shapes and types; channels share the numbers of their position."""
    feeds = request.feeds
    return {name: np.array(np.broadcast_to(a, feeds[name].shape), result_type(feeds[name])) for name, a in arrays.items()}


CLAIMS = exactly("linearity", "implementation_invariance")
METHOD = Method(read_card("rise", __doc__, Params, CLAIMS), Params, run=run, family="perturbation")
