"""A loop over the first axis as one ``Scan`` node, its body written by a function on terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import Shape

Terms = tuple[Term, ...]
Body = Callable[..., tuple[Sequence[Term], Sequence[Term]]]
"""``(*states, *slices of the sequences) -> (new states, what the step emits)``. It may read any term from outside,
but a node belongs to the step only if its first term does: ``dh * outer``, not ``outer * dh``."""


def scan(body: Body, states: Sequence[Term], sequences: Sequence[Term | None], *, backwards: bool = False) -> tuple[Terms, Terms]:
    """The final states, and per emitted term the sequence of what the steps emitted, in the order of ``sequences``.

    Args:
        body: Writes one step.
        states: Initial states; every step gives states of the same shapes and types.
        sequences: [steps, …] each; the body gets None for None.
        backwards: From the last step to the first.
    """
    emit = states[0].emit
    graph = ir.Graph([], [], nodes=[], name=emit.fresh("step"))
    inner = emit.inside(graph)
    arguments = [_argument(inner, s, s.shape) for s in states]
    slices = [None if s is None else _argument(inner, s, None if s.shape is None else s.shape[1:]) for s in sequences]
    present = [s for s in sequences if s is not None]
    carried, emitted = body(*arguments, *slices)
    for term in (*carried, *emitted):
        graph.outputs.append(_own_result(inner, term))
    attributes = {
        "body": graph,
        "num_scan_inputs": len(present),
        "scan_input_directions": [int(backwards)] * len(present),
        "scan_output_directions": [int(backwards)] * len(emitted),
    }
    values = emit.append("Scan", [t.value for t in (*states, *present)], len(graph.outputs), "", attributes)
    shapes = [s.shape for s in states] + [_stacked(present[0], term) for term in emitted]
    results = []
    for value, of_step, shape in zip(values, graph.outputs, shapes, strict=True):
        value.type, value.shape = of_step.type, None if shape is None else ir.Shape(shape)
        results.append(Term(value, emit))
    return tuple(results[: len(states)]), tuple(results[len(states) :])


def _argument(inner: Emitter, outer: Term, shape: Shape | None) -> Term:
    """An input of the body."""
    value = ir.Value(name=inner.fresh("argument"), type=outer.value.type, shape=None if shape is None else ir.Shape(shape))
    inner.graph.inputs.append(value)
    return Term(value, inner)


def _own_result(inner: Emitter, term: Term) -> ir.Value:
    """An output of the body must be the result of one of its nodes, and be listed once."""
    producer = term.value.producer()
    own = producer is not None and producer.graph is inner.graph and term.value not in inner.graph.outputs
    return term.value if own else inner.op("Identity", term, shape=term.shape).value


def _stacked(sequence: Term, term: Term) -> Shape | None:
    return None if term.shape is None else (None if sequence.shape is None else sequence.shape[0], *term.shape)
