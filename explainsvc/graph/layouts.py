"""Where an optimiser has moved the numbers of a tensor: found by numbers that occur only once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

from explainsvc.autograd.shapes import Array

FIRST = 0x60000000
"""Bits of the first number that is put in, 3.7e19: no constant of a network, and a product of two is infinite."""


@dataclass(frozen=True)
class View:
    """A regular walk through a tensor: turned, mirrored, in blocks.

    Attributes:
        source: The learned tensor.
        offset: Place of the first element.
        shape: How many steps the walk takes along each axis, outermost first.
        strides: How far each goes, in elements.
    """

    source: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    nbytes: ClassVar[int] = 0
    """Of arrays that it holds."""

    def of(self, array: Array) -> Array:
        """The numbers in the order of the walk."""
        flat = array.reshape(-1)[self.offset :]
        steps = tuple(flat.itemsize * stride for stride in self.strides)
        return np.ascontiguousarray(as_strided(flat, self.shape, steps, writeable=False)).reshape(-1)


@dataclass(frozen=True)
class Places:
    """Elements of a tensor in any order, zeros between them where onnxruntime fills up a block.

    Attributes:
        source: The learned tensor.
        index: Of each element; −1: zero.
    """

    source: str
    index: Array = field(repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Of the places."""
        return self.index.nbytes

    def of(self, array: Array) -> Array:
        """The numbers at these places."""
        return np.asarray(np.where(self.index < 0, array.dtype.type(0), array.reshape(-1)[self.index]))


Layout = View | Places


def view_of(source: str, index: Array) -> View | None:
    """The walk that visits a tensor's elements in this order; None where it is not regular."""
    shape, strides, rest = list[int](), list[int](), index
    while len(rest) > 1:
        stride = int(rest[1]) - int(rest[0])
        breaks = np.flatnonzero(np.diff(rest) != stride)
        count = int(breaks[0]) + 1 if len(breaks) else len(rest)
        if len(rest) % count:
            return None
        rows = rest.reshape(-1, count)
        if not (np.diff(rows, axis=1) == stride).all():
            return None
        shape, strides, rest = [count, *shape], [stride, *strides], rows[:, 0]
    return View(source, int(rest[0]), tuple(shape) or (1,), tuple(strides) or (1,))


@dataclass(frozen=True)
class Numbering:
    """Numbers that occur once, for all elements of some tensors.

    Attributes:
        ranges: Tensor → the numbers of its elements; one tensor after the other, from 0 on.
    """

    ranges: Mapping[str, range]

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Numbering:
        """Of tensors of these sizes."""
        ends = accumulate(array.size for array in arrays.values())
        return cls({name: range(end - array.size, end) for (name, array), end in zip(arrays.items(), ends, strict=True)})

    def numbers(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The numbers, as float32 of the tensors' shapes."""
        return {
            name: np.arange(FIRST + own.start, FIRST + own.stop, dtype=np.int32).view(np.float32).reshape(arrays[name].shape)
            for name, own in self.ranges.items()
        }

    def layout(self, found: Array) -> Layout | None:
        """Which tensor's elements these numbers are, and in which order; None where they are not of one tensor."""
        number = found.reshape(-1).view(np.int32) - np.int32(FIRST)
        inside = (number >= 0) & (number < max(own.stop for own in self.ranges.values()))
        if not inside.any() or not (inside | (found.reshape(-1) == 0)).all():
            return None
        least, largest = int(number[inside].min()), int(number[inside].max())
        source, own = next((name, own) for name, own in self.ranges.items() if least in own)
        if largest not in own:
            return None
        index = np.where(inside, number - own.start, -1)
        return (view_of(source, index) if inside.all() else None) or Places(source, index.astype(np.int32))
