"""Pad nodes without an axes operand.

All axes get a pad: given an axes operand, the transpose optimizer of onnxruntime 1.32 permutes the pads as if they were
those of all axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Shape
from explainsvc.autograd.term import Term

INT64 = ir.DataType.INT64


def padded(term: Term, begins: Term, ends: Term, axes: Sequence[int], value: Term | None, shape: Shape | None) -> Term:
    """``term`` with ``value`` (0) before and after along ``axes``; negative sizes crop."""
    emit = term.emit
    rank = len(shape) if term.rank is None and shape is not None else term.rank
    if rank is None:
        sizes = [_scattered(side, axes, term) for side in (begins, ends)]
    else:
        place = {axis % rank: k for k, axis in enumerate(axes)}
        spread = emit.ints(place.get(axis, len(axes)) for axis in range(rank))
        sizes = [_spread(side, spread) for side in (begins, ends)]
    return emit.op("Pad", term, emit.op("Concat", *sizes, dtype=INT64, axis=0), value, shape=shape)


def _spread(sizes: Term, places: Term) -> Term:
    """A vector's elements at their places, 0 where a place is behind its end."""
    emit = sizes.emit
    longer = emit.op("Concat", sizes, emit.ints([0]), dtype=INT64, axis=0)
    return emit.op("Gather", longer, places, dtype=INT64, shape=places.shape, axis=0)


def _scattered(sizes: Term, axes: Sequence[int], term: Term) -> Term:
    """A vector as long as ``term`` has axes, which only run time knows: ``sizes`` at ``axes``, 0 elsewhere."""
    emit = term.emit
    rank = emit.op("Shape", emit.op("Shape", term, dtype=INT64), dtype=INT64, shape=(1,))
    zeros = emit.op("ConstantOfShape", rank, dtype=INT64, shape=(None,), value=ir.tensor(np.zeros(1, np.int64)))
    return emit.op("ScatterElements", zeros, emit.ints(axes), sizes, dtype=INT64, shape=(None,), axis=0)
