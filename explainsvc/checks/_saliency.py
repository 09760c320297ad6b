"""Maps as pixels: how salient each is, the k most salient, the centre of mass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks.maps import silent
from explainsvc.method import Request
from explainsvc.methods._positions import position_axes

LARGEST_SHARE = 10
"""k is at most one pixel in so many: the k most salient of k pixels are the same ones in every map."""


@dataclass(frozen=True)
class Part:
    """An explained input: the shape of one item, and the axes whose entries are pixels (all, where it has no positions)."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Pixels along every axis."""
        return tuple(self.shape[a] for a in self.axes)

    def saliency(self, values: Array) -> Array:
        """Σ over channels of |value|: [item, element] → [item, pixel]."""
        channels = tuple(1 + a for a in range(len(self.shape)) if a not in self.axes)
        return np.asarray(np.abs(values).astype(np.float64).reshape(-1, *self.shape).sum(axis=channels).reshape(len(values), -1))

    def spread(self, weights: Array) -> Array:
        """[item, pixel] → [item, *shape]: every element has the number of its pixel."""
        kept = [n if a in self.axes else 1 for a, n in enumerate(self.shape)]
        return np.broadcast_to(weights.reshape(-1, *kept), (len(weights), *self.shape))


@dataclass(frozen=True)
class Pixels:
    """The pixels of all explained inputs, side by side."""

    parts: tuple[Part, ...]
    placed: bool

    @property
    def count(self) -> int:
        """Pixels of one item."""
        return sum(math.prod(part.grid) for part in self.parts)

    def saliency(self, maps: Array) -> Array:
        """Maps [item, element], as :func:`explainsvc.checks.maps.flat` has them → [item, pixel], float64."""
        ends = np.cumsum([math.prod(part.shape) for part in self.parts])[:-1]
        pieces = np.split(maps, ends, axis=1)
        return np.concatenate([part.saliency(v) for part, v in zip(self.parts, pieces, strict=True)], axis=1)

    def spread(self, weights: Array) -> dict[str, Array]:
        """Weights of pixels [item, pixel] as arrays [item, *shape] by input."""
        ends = np.cumsum([math.prod(part.grid) for part in self.parts])[:-1]
        pieces = np.split(weights, ends, axis=1)
        return {part.name: part.spread(w) for part, w in zip(self.parts, pieces, strict=True)}

    def coordinates(self) -> Array:
        """Place of every pixel along every axis of positions, [axis, pixel]; of inputs with positions only."""
        return np.indices(self.parts[0].grid).reshape(len(self.parts[0].grid), -1).astype(np.float64)


def pixels_of(subject: Subject, e: Explained) -> Pixels:
    """The pixels of a method's maps: positions where the graph or the shape of the input tells them, else elements."""
    request = Request(subject.model, subject.feeds, e.wanted, e.target, subject.seed, silent)
    parts, placed = [], len(e.wanted) == 1
    for name in e.wanted:
        shape, axes = request.item_shape(name), position_axes(request, name, ())
        placed = placed and bool(axes)
        parts.append(Part(name, shape, axes or tuple(range(len(shape)))))
    return Pixels(tuple(parts), placed)


def bounded(k: int, pixels: int) -> int:
    """k, but at most a tenth of the pixels."""
    return min(k, max(1, pixels // LARGEST_SHARE))


def top(saliency: Array, k: int) -> Array:
    """Which pixels are the k most salient, bool [item, pixel]; of equal ones the first."""
    chosen = np.argsort(-saliency, axis=1, kind="stable")[:, :k]
    mask = np.zeros(saliency.shape, bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return mask


def intersection(a: Array, b: Array, k: int) -> Array:
    """Share of the k most salient pixels of one map that are so in the other; NaN where a map is constant or not finite."""
    shared = (top(a, k) & top(b, k)).sum(axis=1) / k
    return np.asarray(np.where(_tells(a) & _tells(b), shared, np.nan))


def _tells(saliency: Array) -> Array:
    return np.asarray(np.isfinite(saliency).all(axis=1) & (np.ptp(saliency, axis=1) > 0))


def mass_center(saliency: Array, coordinates: Array) -> Array:
    """Σ_p saliency_p · place_p / Σ_p saliency_p, [item, axis]; NaN where nothing is salient.

    (Ghorbani et al. 2019, arXiv:1710.10547, the mass-center attack.)
    """
    mass = saliency.sum(axis=1, keepdims=True)
    return np.asarray(
        np.divide(saliency @ coordinates.T, mass, out=np.full((len(mass), len(coordinates)), np.nan), where=mass > 0)
    )
