"""Arithmetic on sizes, axes and pads: constants where shapes are static, a few int64 nodes where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.shapes import Array, Shape

INT64 = ir.DataType.INT64

_FOLD: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Mod": np.mod,
    "Neg": np.negative,
    "Less": np.less,
    "Where": np.where,
    "Max": np.maximum,
    "Min": np.minimum,
}


def known(term: Term) -> Array | None:
    """The value of a constant term."""
    constant = term.value.const_value
    return None if constant is None else constant.numpy()


def size(op_type: str, *terms: Term) -> Term:
    """One integer operation, computed here when all operands are constants."""
    emit = terms[0].emit
    arrays = [known(t) for t in terms]
    if all(a is not None for a in arrays):
        return emit.constant(_FOLD[op_type](*arrays))
    return emit.op(op_type, *terms, dtype=ir.DataType.BOOL if op_type == "Less" else INT64)


def joined(*parts: Term) -> Term:
    """Vectors, one after the other."""
    arrays = [a for a in map(known, parts) if a is not None]
    if len(arrays) == len(parts):
        return parts[0].emit.constant(np.concatenate(arrays))
    return parts[0].emit.op("Concat", *parts, axis=0)


def int64(term: Term) -> Term:
    """An index of any integer type as int64."""
    array = known(term)
    if array is not None:
        return term.emit.constant(array, np.int64)
    return term if term.dtype == INT64 else term.emit.cast(term, INT64)


def dims(term: Term, axes: Sequence[int]) -> Term:
    """The sizes of ``term`` along ``axes``, as an int64 vector."""
    shape = term.shape
    static = [] if shape is None else [d for d in (shape[a] for a in axes) if isinstance(d, int)]
    if len(static) == len(axes):
        return term.emit.ints(static)
    whole = term.emit.op("Shape", term, dtype=INT64, shape=None if shape is None else (len(shape),))
    return term.emit.op("Gather", whole, term.emit.ints(axes), dtype=INT64, shape=(len(axes),), axis=0)


def element(vector: Term, index: int) -> Term:
    """Element ``index`` of a vector, still a vector of one element."""
    return part(vector, index, index + 1)


def part(vector: Term, start: int, end: int) -> Term:
    """Elements ``start`` to ``end`` of a vector."""
    array = known(vector)
    if array is not None:
        return vector.emit.constant(array[start:end])
    indices = vector.emit.ints(range(start, end))
    return vector.emit.op("Gather", vector, indices, shape=(end - start,), axis=0)


def from_start(index: Term, dim: Term) -> Term:
    """``index`` counted from the start; negative ones count from the end."""
    return size("Where", size("Less", index, index.emit.constant(0, np.int64)), size("Add", index, dim), index)


def upto(count: Term) -> Term:
    """0, 1, …, count − 1, of a vector of one element."""
    emit = count.emit
    scalar = emit.op("Squeeze", count, emit.ints([0]), dtype=INT64, shape=())
    return emit.op("Range", emit.constant(0, np.int64), scalar, emit.constant(1, np.int64), dtype=INT64)


def reshape_to(term: Term, *parts: Term, shape: Shape | None = None) -> Term:
    """``term`` with the dimensions that the vectors ``parts`` spell (0 copies, -1 infers); ``shape``: what is known."""
    return term.emit.op("Reshape", term, joined(*parts), shape=shape)


def vector(scalar: Term) -> Term:
    """A scalar as a vector of one element."""
    array = known(scalar)
    if array is not None:
        return scalar.emit.constant(array.reshape(1))
    return scalar.emit.op("Reshape", scalar, scalar.emit.ints([1]), shape=(1,))


def positive_axis(axis: int, rank: int | None) -> int | None:
    """``axis`` counted from the start, None where the rank is needed for that and unknown."""
    if axis >= 0:
        return axis
    return None if rank is None else axis + rank


def flat(term: Term) -> Term:
    """All elements in one axis."""
    return term.emit.op("Reshape", term, term.emit.ints([-1]))


def identity(count: Term) -> Term:
    """The float32 identity matrix of ``count`` (a vector of one element) rows."""
    zero = ir.tensor(np.zeros(1, np.float32))
    square = count.emit.op("ConstantOfShape", joined(count, count), dtype=ir.DataType.FLOAT, value=zero)
    return count.emit.op("EyeLike", square)
