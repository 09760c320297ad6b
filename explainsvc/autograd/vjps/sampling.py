"""Picking cells of images by position, and between cells by bilinear weights."""

from __future__ import annotations

from explainsvc.autograd.emit import Term
from explainsvc.autograd.vjps.sizes import INT64, dims, reshape_to


def unsqueezed(term: Term, *axes: int) -> Term:
    """``term`` with axes of size 1 at ``axes`` of the result."""
    return term.emit.op("Unsqueeze", term, term.emit.ints(axes))


def cells(images: Term) -> Term:
    """[images, channels, height, width] → [images · height · width, channels]."""
    emit = images.emit
    last = emit.op("Transpose", images, perm=[0, 2, 3, 1])
    channels = None if images.shape is None else images.shape[1]
    return reshape_to(last, emit.ints([-1]), dims(images, [1]), shape=(None, channels))


def scalar(vector: Term) -> Term:
    """A vector of one element as a scalar."""
    return vector.emit.op("Squeeze", vector, vector.emit.ints([0]), shape=())


def as_float(integer: Term, like: Term) -> Term:
    """An integer in the type of ``like``."""
    return integer.emit.cast(integer, like.dtype or like.emit.float_type)


def bilinear(rows: Term, first: Term, y: Term, x: Term, height: Term, width: Term) -> Term:
    """The four neighbours of every place, times their weights; neighbours outside the image weigh nothing.

    Args:
        rows: [images · height · width, channels], see :func:`cells`.
        first: Row where the image of a place begins; broadcasts with ``y`` and ``x``.
        y: Vertical coordinates in pixels, [...] together with ``x``.
        x: Horizontal ones.
        height: Of an image, int64, a vector of one element.
        width: The same.

    Returns:
        [..., 4, channels].
    """
    emit = rows.emit
    taps = [(row, column) for row in _neighbours(y, height) for column in _neighbours(x, width)]
    places = [unsqueezed(first + row[0] * width + column[0], -1) for row, column in taps]
    weights = [unsqueezed(row[1] * column[1], -1) for row, column in taps]
    picked = emit.op("Gather", rows, emit.op("Concat", *places, axis=-1), axis=0)
    return picked * unsqueezed(emit.op("Concat", *weights, axis=-1), -1)


def _neighbours(at: Term, length: Term) -> list[tuple[Term, Term]]:
    """Index and weight of the cells before and behind a coordinate."""
    emit, last = at.emit, as_float(length - at.emit.ints([1]), at)
    floor = emit.op("Floor", at)
    t = at - floor
    return [_inside(floor, 1 - t, last), _inside(floor + 1, t, last)]


def _inside(index: Term, weight: Term, last: Term) -> tuple[Term, Term]:
    """The nearest cell of the image, and the weight, which is 0 where that is another cell."""
    nearest = index.emit.op("Min", index.emit.op("Max", index, 0.0), last)
    return index.emit.cast(nearest, INT64), weight * index.emit.mask(index.equals(nearest), weight)


def first_largest(values: Term, axis: int) -> Term:
    """The largest along ``axis``, the first one where several are: where the gradient goes to."""
    where = values.emit.op("ArgMax", values, dtype=INT64, axis=axis, keepdims=1)
    largest = values.emit.op("GatherElements", values, where, axis=axis)
    return values.emit.op("Squeeze", largest, values.emit.ints([axis]))
