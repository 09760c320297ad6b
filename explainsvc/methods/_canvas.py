"""A picture and what replaces it, under a coarse mask: blending, its adjoint, and the roughness of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.methods._positions import along


@dataclass(frozen=True)
class Canvas:
    """One input with positions.

    Attributes:
        x: [items, *item shape]; one item where all share the input. float64.
        null: What is seen where the mask is 0, same shape.
        axes: Of ``x``, that hold positions.
        up: Per axis the matrix from cells to positions: linear upsampling, then blur.
    """

    x: Array
    null: Array
    axes: tuple[int, ...]
    up: tuple[Array, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """Of a mask: [items, cells…]."""
        return (len(self.x), *(matrix.shape[1] for matrix in self.up))

    def spread(self, mask: Array) -> Array:
        """A mask [items, cells…] at the positions of ``x``, with length 1 along all other axes."""
        fine = along(self.up, mask, range(1, mask.ndim))
        return fine.reshape([n if a == 0 or a in self.axes else 1 for a, n in enumerate(self.x.shape)])

    def gathered(self, g: Array) -> Array:
        """The adjoint of ``spread`` followed by repetition over the other axes: [items, *item shape] → [items, cells…]."""
        others = tuple(a for a in range(1, g.ndim) if a not in self.axes)
        return along([matrix.T for matrix in self.up], g.sum(axis=others), range(1, len(self.axes) + 1))

    def shifted(self, shifts: tuple[int, ...]) -> Canvas:
        """Picture and replacement moved by ``shifts`` along the axes, their edges repeated."""
        x, null = self.x, self.null
        for axis, shift in zip(self.axes, shifts, strict=True):
            places = np.clip(np.arange(x.shape[axis]) - shift, 0, x.shape[axis] - 1)
            x, null = np.take(x, places, axis), np.take(null, places, axis)
        return Canvas(x, null, self.axes, self.up)

    def blended(self, mask: Array) -> Array:
        """Φ = m ⊙ x + (1 − m) ⊙ x_null."""
        m = self.spread(mask)
        return np.asarray(m * self.x + (1 - m) * self.null)

    def pulled(self, gradient: Array) -> Array:
        """∂S/∂m of ∂S/∂Φ: the adjoint of the linear part of ``blended``."""
        return self.gathered(gradient * (self.x - self.null))


def roughness(mask: Array, beta: float) -> float:
    """Σ over cells and axes of |m(u + e) − m(u)|^β."""
    return float(sum((np.abs(np.diff(mask, axis=a)) ** beta).sum() for a in range(1, mask.ndim)))


def roughness_gradient(mask: Array, beta: float) -> Array:
    """∂ roughness / ∂m: the adjoint of the differences, of β|d|^(β−1) sign d."""
    total = np.zeros(mask.shape)
    for a in range(1, mask.ndim):
        d = np.diff(mask, axis=a)
        slope = beta * np.abs(d) ** (beta - 1) * np.sign(d)
        ends = [(0, 0)] * mask.ndim
        total += np.pad(slope, [*ends[:a], (1, 0), *ends[a + 1 :]]) - np.pad(slope, [*ends[:a], (0, 1), *ends[a + 1 :]])
    return total


def outside_disc(c: Canvas, radius: float) -> Array:
    """1 outside of a centred disc, 0 inside; radius 1 reaches the corners."""
    sizes = [matrix.shape[0] for matrix in c.up]
    centres = np.meshgrid(
        *[((np.arange(n) + 0.5) / n - 0.5) * size for n, size in zip(c.cells[1:], sizes, strict=True)], indexing="ij"
    )
    distance = np.sqrt(sum(u**2 for u in centres)) / np.sqrt(sum((size / 2) ** 2 for size in sizes))
    return np.array(np.broadcast_to(distance >= radius, c.cells), float)
