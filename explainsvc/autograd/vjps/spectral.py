"""Fourier transforms: linear, so a gradient goes back by the adjoint, which is a transform again.

Complex numbers are pairs (real, imaginary) in the last axis. With F the matrix of the transform of length L, the adjoint
of F is L times the inverse transform, that of the inverse transform F/L. Real signals have no imaginary part to send
anything to.
"""

from __future__ import annotations

from numpy.typing import DTypeLike

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import stops, vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import INT64, dims, int64, joined, reshape_to, upto, vector

stops(["HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"])  # of integers, and of edges rounded to bins


def _scalar(length: Term) -> Term:
    return length.emit.op("Squeeze", length, length.emit.ints([0]), shape=())


def _transform(x: Term, length: Term, axis: Term, *, inverse: int = 0, onesided: int = 0) -> Term:
    return x.emit.op("DFT", x, _scalar(length), _scalar(axis), inverse=inverse, onesided=onesided)


def _number(length: Term, like: Term) -> Term:
    return length.emit.cast(_scalar(length), like.dtype or like.emit.float_type)


def _components(term: Term, like: Term) -> Term:
    """Only the real part where ``like`` has no other."""
    last = None if like.shape is None else like.shape[-1]
    if last == 2:
        return term
    emit = term.emit
    count = emit.ints([1]) if last == 1 else emit.op("Shape", like, dtype=INT64, shape=(1,), start=-1)
    return emit.op("Slice", term, emit.ints([0]), count, emit.ints([-1]))


# DFT --------------------------------------------------------------------------------------------------------------


def _along(term: Term, axis: Term) -> Term:
    """The size of ``term`` along ``axis``."""
    shape = term.emit.op("Shape", term, dtype=INT64, shape=None if term.rank is None else (term.rank,))
    return term.emit.op("Gather", shape, axis, shape=(1,), axis=0)


@vjp("DFT")
def _dft(n: NodeView, g: Term) -> Term:
    emit, inverse, onesided = n.emit, n.attr("inverse", 0), n.attr("onesided", 0)
    axis = vector(int64(n.input(2))) if n.has(2) else emit.ints([-2])
    length = _length(n, axis, halved=bool(inverse and onesided))
    if inverse and onesided:
        sent = _to_half(n, g, length, axis)
    elif inverse:
        sent = _transform(g, length, axis) / _number(length, g)
    else:
        sent = _transform(g, length, axis, inverse=1) * _number(length, g)
    sent = _components(sent, n.x)
    missing = _along(n.x, axis) - _along(sent, axis)  # what padding added is cut, what was cut gets zeros
    return emit.op("Pad", sent, joined(emit.ints([0]), missing), None, axis, shape=n.x.shape)


def _length(n: NodeView, axis: Term, *, halved: bool) -> Term:
    if n.has(1):
        return vector(int64(n.input(1)))
    given = _along(n.x, axis)
    return (given - n.emit.ints([1])) * n.emit.ints([2]) if halved else given


def _to_half(n: NodeView, g: Term, length: Term, axis: Term) -> Term:
    """Half a spectrum stands for all of it: an entry counts for two if its mirror image was not given."""
    emit = n.emit
    whole = _transform(g, length, axis)
    index = upto(length)
    mirrored = emit.op("And", index > emit.ints([0]), length - index >= _along(n.x, axis))
    counts = emit.where(mirrored, emit.constant(2, _type(g)), emit.constant(1, _type(g)))
    shape = emit.op("Shape", whole, dtype=INT64)
    column = emit.op("ScatterElements", shape - shape + emit.ints([1]), axis, emit.ints([-1]))
    return whole * emit.op("Reshape", counts, column) / _number(length, g)


def _type(like: Term) -> DTypeLike:
    return (like.dtype or like.emit.float_type).numpy()


# STFT -------------------------------------------------------------------------------------------------------------


def _frame_length(n: NodeView) -> Term:
    if n.has(3):
        return vector(int64(n.input(3)))
    return dims(n.input(2), [0]) if n.has(2) else dims(n.x, [1])


def _frames_back(n: NodeView, g: Term) -> Term:
    """What arrives at the windowed frames [batch, frames, length, components]."""
    length, axis = _frame_length(n), n.emit.ints([2])
    return _components(_transform(g, length, axis, inverse=1) * _number(length, g), n.x)


def _places(n: NodeView, g: Term) -> Term:
    """Where in the signal every cell of every frame lies, in one axis."""
    starts = upto(dims(g, [1])) * int64(n.input(1))
    cells = n.emit.op("Unsqueeze", starts, n.emit.ints([1])) + upto(_frame_length(n))
    return n.emit.op("Reshape", cells, n.emit.ints([-1]), shape=(None,))


def _window(n: NodeView) -> Term:
    return n.emit.op("Unsqueeze", n.input(2), n.emit.ints([1]))


@vjp("STFT")
def _stft(n: NodeView, g: Term) -> Term:
    """The frames are added up where they overlap."""
    emit, frames = n.emit, _frames_back(n, g)
    frames = frames * _window(n) if n.has(2) else frames
    cells = reshape_to(frames, emit.ints([0, -1]), dims(n.x, [2]))
    places = emit.op("Expand", emit.op("Unsqueeze", _places(n, g), emit.ints([1])), emit.op("Shape", cells, dtype=INT64))
    return emit.op("ScatterElements", emit.zeros_like(n.x), places, cells, axis=1, reduction="add", shape=n.x.shape)


@vjp("STFT", 2)
def _stft_window(n: NodeView, g: Term) -> Term:
    """Every frame times what arrives at it."""
    emit, frames = n.emit, _frames_back(n, g)
    cells = emit.op("Gather", n.x, _places(n, g), axis=1)
    signal = emit.op("Reshape", cells, emit.op("Shape", frames, dtype=INT64))
    return emit.sum(signal * frames, [0, 1, 3], keepdims=False)
