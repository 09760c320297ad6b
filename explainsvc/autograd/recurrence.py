"""What LSTM, GRU and RNN share: directions, lengths, layouts.

Every direction is brought to one form: time is the first axis and runs as that direction reads it. A sequence that is
shorter than the longest keeps its state behind its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.recurrent_activations import Activation, activations
from explainsvc.autograd.shapes import Dim
from explainsvc.autograd.view import NodeView

INT64 = ir.DataType.INT64


RANKS = (3, 3, 3, 2, 1, 3, 3, 2)
"""Of the operands X, W, R, B, sequence_lens, initial_h, initial_c, P."""


@dataclass(frozen=True)
class Direction:
    """One direction of a recurrent node, its operands without the axis of directions.

    ``x`` [time, batch, input], ``y`` [time, batch, hidden], ``before`` the hidden state before each step, ``w``, ``r``
    [gates · hidden, …], ``wb``, ``rb`` [gates · hidden], ``p`` [3 · hidden], ``h0``, ``c0`` [batch, hidden],
    ``inside`` [time, batch, 1]: 1 within a sequence, 0 behind its end; None where all have full length.
    """

    x: Term
    y: Term
    before: Term
    w: Term
    r: Term
    wb: Term | None
    rb: Term | None
    p: Term | None
    h0: Term
    c0: Term
    inside: Term | None
    activations: tuple[Activation, ...]

    def within(self, term: Term) -> Term:
        """``term``, 0 behind the end of a sequence."""
        return term if self.inside is None else term * self.inside

    @property
    def behind(self) -> Term | None:
        """1 behind the end of a sequence; None where none is short."""
        return None if self.inside is None else 1 - self.inside

    def started(self, final: Term) -> Term:
        """``final``, a final state, 0 where a sequence has no step: onnxruntime gives zeros there."""
        if self.inside is None:
            return final
        return final * final.emit.op("Gather", self.inside, final.emit.constant(0, np.int64), shape=(None, 1), axis=0)

    def kept(self, share: Term) -> Term:
        """The share of a state that a step passes on: all of it behind the end of a sequence."""
        return share if self.behind is None else self.within(share) + self.behind


@dataclass(frozen=True)
class Recurrent:
    """A recurrent node: how its operands and results lie."""

    n: NodeView

    @property
    def count(self) -> int:
        """Number of directions."""
        return 2 if self.n.attr("direction", "forward") == "bidirectional" else 1

    def term(self, index: int) -> Term | None:
        """Operand ``index`` or None."""
        return ranked(self.n.input(index), RANKS[index]) if self.n.has(index) else None

    def plain(self, term: Term, perm: Sequence[int] = (1, 0, 2)) -> Term:
        """layout 0 of an X or state in the layout of the node, or the other way; of a Y with its own ``perm``."""
        if not self.n.attr("layout", 0):
            return term
        shape = None if term.shape is None else tuple(term.shape[p] for p in perm)
        return term.emit.op("Transpose", term, perm=list(perm), shape=shape)

    def is_reversed(self, d: int) -> bool:
        """Whether direction ``d`` reads from the end."""
        return d == 1 or self.n.attr("direction", "forward") == "reverse"

    def in_order(self, term: Term, d: int) -> Term:
        """[time, batch, …] turned as direction ``d`` reads it; turning twice gives the term again."""
        emit, lens = term.emit, self.term(4)
        if not self.is_reversed(d):
            return term
        if lens is not None:
            counts = emit.cast(lens, INT64)
            return emit.op("ReverseSequence", term, counts, shape=term.shape, time_axis=0, batch_axis=1)
        ends = (emit.ints([-1]), emit.ints([np.iinfo(np.int64).min]), emit.ints([0]), emit.ints([-1]))
        return emit.op("Slice", term, *ends, shape=term.shape)

    def y(self) -> Term:
        """All hidden states [time, directions, batch, hidden]; the node is made to give them where it did not."""
        value = self.n.node.outputs[0]
        if not value.name:
            value.name, value.type = self.n.emit.fresh("Y"), self.n.x.value.type
        if value.shape is None:
            hidden, first, second = dim(self._present(2), 2), dim(self._present(0), 0), dim(self._present(0), 1)
            batch_first = self.n.attr("layout", 0)
            value.shape = ir.Shape((first, second, self.count, hidden) if batch_first else (first, self.count, second, hidden))
        return self.plain_y(self.n.y)

    def plain_y(self, term: Term) -> Term:
        """:meth:`plain` for Y or its gradient."""
        return self.plain(term, (1, 2, 0, 3))

    def inside(self, y: Term) -> Term | None:
        """1 within a sequence and 0 behind its end, [time, batch, 1]; None without ``sequence_lens``."""
        emit, lens = self.n.emit, self.term(4)
        if lens is None:
            return None
        steps = emit.op("Squeeze", emit.op("Shape", y, dtype=INT64, shape=(1,), start=0, end=1), shape=())
        t = emit.op("Range", emit.constant(0, np.int64), steps, emit.constant(1, np.int64), shape=(dim(y, 0),))
        t = emit.op("Unsqueeze", t, emit.ints([1, 2]), shape=(dim(y, 0), 1, 1))
        lens = emit.op("Unsqueeze", emit.cast(lens, INT64), emit.ints([1]), shape=(dim(y, 2), 1))
        return emit.mask(t < lens, y)

    def directions(self) -> list[Direction]:
        """The directions of the node."""
        y = self.y()
        x, inside = self.plain(self._present(0)), self.inside(y)
        return [self._direction(d, x, y, inside) for d in range(self.count)]

    def _direction(self, d: int, x: Term, y: Term, inside: Term | None) -> Direction:
        own = self.in_order(part(y, d, self.count, axis=1), d)
        h0, c0 = self._state(5, d, own), self._state(6, d, own)
        bias, p = self.term(3), self.term(7)
        wb, rb = (None, None) if bias is None else split(part(bias, d, self.count), 2)
        return Direction(
            x=self.in_order(x, d), y=own, before=shifted(own, h0), w=self._weight(1, d), r=self._weight(2, d), wb=wb, rb=rb,
            p=None if p is None else part(p, d, self.count), h0=h0, c0=c0, inside=inside,
            activations=activations(self.n, self.count)[d],
        )  # fmt: skip

    def _weight(self, index: int, d: int) -> Term:
        return part(self._present(index), d, self.count)

    def _present(self, index: int) -> Term:
        term = self.term(index)
        assert term is not None
        return term

    def _state(self, index: int, d: int, like: Term) -> Term:
        """Operand ``index``, a state, of direction ``d``: [batch, hidden]; zeros where it is absent."""
        term = self.term(index)
        return zeros(like) if term is None else part(self.plain(term), d, self.count)


def ranked(term: Term, rank: int) -> Term:
    """``term`` with its rank, which the operator fixes, where it was not declared: Scan wants it."""
    return term if term.shape is not None else term.emit.op("Identity", term, shape=(None,) * rank)


def dim(term: Term, axis: int) -> Dim:
    """The static length of an axis, where known."""
    return None if term.shape is None else term.shape[axis]


def part(term: Term, d: int, count: int, axis: int = 0) -> Term:
    """Entry ``d`` of the axis of directions, which has ``count``; the axis goes."""
    shape = None if term.shape is None else (*term.shape[:axis], *term.shape[axis + 1 :])
    if count == 1:
        return term.emit.op("Squeeze", term, term.emit.ints([axis]), shape=shape)
    return term.emit.op("Gather", term, term.emit.constant(d, np.int64), shape=shape, axis=axis)


def stacked(terms: Sequence[Term]) -> Term:
    """The opposite of :func:`part`: one term a direction, joined along a new first axis."""
    emit = terms[0].emit
    rows = [emit.op("Unsqueeze", t, emit.ints([0]), shape=None if t.shape is None else (1, *t.shape)) for t in terms]
    shape = None if terms[0].shape is None else (len(terms), *terms[0].shape)
    return rows[0] if len(rows) == 1 else emit.op("Concat", *rows, shape=shape, axis=0)


def split(term: Term, count: int) -> tuple[Term, ...]:
    """Equal parts of the last axis: the gates."""
    width = None if term.shape is None else term.shape[-1]
    shape = None if term.shape is None else (*term.shape[:-1], width // count if isinstance(width, int) else None)
    return term.emit.ops("Split", term, count=count, shape=shape, axis=-1, num_outputs=count)


def joined(*terms: Term) -> Term:
    """Gates side by side on the last axis, all of one width."""
    width = None if terms[0].shape is None else terms[0].shape[-1]
    total = width * len(terms) if isinstance(width, int) else None
    shape = None if terms[0].shape is None else (*terms[0].shape[:-1], total)
    return terms[0].emit.op("Concat", *terms, shape=shape, axis=-1)


def zeros(sequence: Term) -> Term:
    """A state of zeros for a sequence [time, batch, hidden]."""
    shape = None if sequence.shape is None else sequence.shape[1:]
    dims = sequence.emit.op("Shape", sequence, dtype=INT64, shape=(2,), start=1)
    zero = ir.tensor(np.zeros(1, (sequence.dtype or sequence.emit.float_type).numpy()))
    return sequence.emit.op("ConstantOfShape", dims, dtype=sequence.dtype, shape=shape, value=zero)


def shifted(states: Term, first: Term) -> Term:
    """The state before each step: ``first``, then all ``states`` but the last."""
    emit, shape = states.emit, states.shape
    start = emit.op("Unsqueeze", first, emit.ints([0]), shape=None if shape is None else (1, *shape[1:]))
    others = None if shape is None else (None, *shape[1:])
    rest = emit.op("Slice", states, emit.ints([0]), emit.ints([-1]), emit.ints([0]), shape=others)
    return emit.op("Concat", start, rest, shape=shape, axis=0)
