"""Backward pass of a Loop: a Loop of as many steps as there were, which counts from the last to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import shape_of
from explainsvc.autograd.steps import (
    Pairs,
    Steps,
    first_states,
    is_tensor,
    outside,
    restored,
    reversed_step,
    state_argument,
    typed_argument,
)
from explainsvc.autograd.subgraphs import argument, close, copied, opened
from explainsvc.autograd.view import NodeView

INT64, BOOL = ir.DataType.INT64, ir.DataType.BOOL


@dataclass(frozen=True)
class Record:
    """The states before every step, ``stacked`` along a new first axis; as a sequence where their shape may change.

    ``series`` stands for what the record will be until it is known whether it is needed; ``value`` is one state of it.
    """

    state: int
    series: ir.Value
    stacked: bool
    value: Term

    @property
    def sequence_type(self) -> ir.SequenceType:
        """Type of the record where it is not stacked."""
        return ir.SequenceType(ir.TensorType(self.value.dtype or ir.DataType.FLOAT))


def reversed_loop(n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, *g: Term | None) -> Pairs:
    """Gradients of the ``wanted`` operands and captured values of a Loop from those of its results."""
    steps = _steps(n, wanted, rulebook, g)
    inner = opened(n.emit, "reversed")
    last = ir.Value(name="last", type=ir.TensorType(INT64), shape=ir.Shape([]))
    counter, going = (argument(inner, _scalar(inner, t)) for t in (INT64, BOOL))
    index = inner.op("Sub", inner.term(last), counter, shape=())
    records = [_record(inner, steps, i, index) for i in range(len(steps.before))]
    values = dict(zip(steps.body.inputs, [_like_counter(steps, index), going, *(r.value for r in records)], strict=True))
    arrived = [(steps.emitted[k], _item(inner, t, index)) for k, t in steps.g_emitted]
    step = reversed_step(inner, steps, values, arrived)
    if not step.results:  # the gradients end inside the body
        return []
    close(inner, [inner.op("Identity", going, shape=()), *step.results])
    inner.graph.inputs.extend(t.value for t in (counter, going, *step.arguments))
    count = _recorded(steps, last, [r for r in records if r.series.uses()])
    operands = [count.value, None, *(t.value for t in first_states(steps, step))]
    results = n.emit.append("Loop", operands, len(step.results), "", {"body": inner.graph})
    pairs = zip(outside(steps, step), results, strict=True)
    return [(t.value, restored(n.emit.term(v), t)) for t, v in pairs if t.value in wanted]


def _steps(n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, g: Sequence[Term | None]) -> Steps:
    body, count = n.node.attributes["body"].as_graph(), len(n.node.inputs) - 2
    return Steps(
        n, body, initial=tuple(n.input(2 + i) for i in range(count)), before=tuple(body.inputs[2:]),
        after=tuple(body.outputs[1 : 1 + count]), emitted=tuple(body.outputs[1 + count :]),
        sequences=(), slices=(), wanted=wanted, g=g, rulebook=rulebook,
    )  # fmt: skip


def _scalar(inner: Emitter, dtype: ir.DataType) -> Term:
    return inner.term(ir.Value(type=ir.TensorType(dtype), shape=ir.Shape([])))


def _item(inner: Emitter, sequence: Term, index: Term) -> Term:
    shape = None if sequence.shape is None else sequence.shape[1:]
    return inner.op("Gather", inner.term(sequence.value), index, axis=0, shape=shape)


def _like_counter(steps: Steps, index: Term) -> Term:
    """Some bodies declare the iteration number as a vector of one."""
    shape = shape_of(steps.body.inputs[0])
    return index.emit.reshape(index, [1]) if shape is not None and len(shape) == 1 else index


def _record(inner: Emitter, steps: Steps, state: int, index: Term) -> Record:
    """One state before the step of an index: read from outside where it never changes, else from a record."""
    series = ir.Value(name="series")
    if steps.invariant(state):
        return Record(state, series, True, state_argument(inner, steps, state, None))
    outer, stacked = steps.initial[state], _keeps_shape(steps, state)
    series.type = steps.before[state].type or outer.value.type
    shape = outer.shape if stacked else shape_of(steps.before[state])
    if stacked:
        value = inner.op("Gather", inner.term(series), index, axis=0, shape=shape)
    else:
        value = inner.op("SequenceAt", inner.term(series), index, shape=shape)
    return Record(state, series, stacked, value)


def _keeps_shape(steps: Steps, state: int) -> bool:
    """Whether shape inference proves that a state has one shape in all steps: the first has it, each gives it."""
    shape = steps.initial[state].shape
    return shape is not None and all(isinstance(d, int) for d in shape) and shape == shape_of(steps.after[state])


def _recorded(steps: Steps, last: ir.Value, records: Sequence[Record]) -> Term:
    """Runs the forward Loop once more for ``records``, and puts them in their place; gives the number of steps.

    Raises:
        NotDifferentiable: A state to record is a sequence itself.
    """
    for record in records:
        if not is_tensor(steps.initial[record.state].value):
            raise steps.refuse(f"its state {record.state} is not a tensor but a sequence or optional, which cannot be recorded")
    emit, growing = steps.n.emit, [r for r in records if not r.stacked]
    stacked = [r for r in records if r.stacked]
    empty = [_empty(emit, r) for r in growing]
    inner = _recording_body(steps, growing, stacked)
    operands = [*steps.n.node.inputs, *(t.value for t in empty)]
    results = emit.append("Loop", operands, len(inner.graph.outputs) - 1, "", {"body": inner.graph})
    series, counts = results[len(steps.before) : -1], results[-1]
    for record, value in zip((*growing, *stacked), series, strict=True):
        value.type = record.series.type if record.stacked else record.sequence_type
        record.series.replace_all_uses_with(value)
    length = emit.op("Shape", emit.term(counts), start=0, end=1, dtype=INT64, shape=(1,))
    count = emit.op("Squeeze", length, shape=())
    last.replace_all_uses_with((count - 1).value)
    return count


def _recording_body(steps: Steps, growing: Sequence[Record], stacked: Sequence[Record]) -> Emitter:
    """The forward body that hands on longer and longer sequences of states, and emits states and the iteration number."""
    inner = opened(steps.n.emit, "recorded")
    outer = (_scalar(inner, INT64), _scalar(inner, BOOL), *steps.initial)
    arguments = [typed_argument(inner, v, t, shape_of(v)) for v, t in zip(steps.body.inputs, outer, strict=True)]
    series = [argument(inner, inner.term(ir.Value(type=r.sequence_type))) for r in growing]
    states = arguments[2:]
    moved = copied(inner, steps.body, dict(zip(steps.body.inputs, arguments, strict=True)))
    longer = [inner.op("SequenceInsert", s, states[r.state]) for s, r in zip(series, growing, strict=True)]
    for term, record in zip(longer, growing, strict=True):
        term.value.type = record.sequence_type
    forward = [inner.term(moved.get(v, v)) for v in steps.body.outputs[: 1 + len(steps.before)]]
    close(inner, [*forward, *longer, *(states[r.state] for r in stacked), arguments[0]])
    inner.graph.inputs.extend(t.value for t in (*arguments, *series))
    return inner


def _empty(emit: Emitter, record: Record) -> Term:
    dtype = int(record.sequence_type.dtype)
    term = emit.term(emit.append("SequenceEmpty", [], 1, "", {"dtype": dtype})[0])
    term.value.type = record.sequence_type
    return term
