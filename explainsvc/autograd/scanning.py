"""Backward pass of a Scan: a Scan that reads and writes all sequences in the opposite direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import shape_of
from explainsvc.autograd.steps import Pairs, Steps, first_states, outside, restored, reversed_step, state_argument, typed_argument
from explainsvc.autograd.subgraphs import close, copied, opened
from explainsvc.autograd.view import NodeView


@dataclass(frozen=True)
class Track:
    """A sequence that the backward Scan reads or writes: ``inner`` is one slice of it.

    For one that it writes, ``outer`` is the forward sequence whose gradient it is.
    """

    inner: Term
    outer: Term
    axis: int = 0
    direction: int = 1


def reversed_scan(n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, *g: Term | None) -> Pairs:
    """Gradients of the ``wanted`` operands and captured values of a Scan (opset ≥ 9) from those of its results."""
    steps = _steps(n, wanted, rulebook, g)
    inner = opened(n.emit, "reversed")
    starts = [state_argument(inner, steps, i, _state_shape(steps, i)) for i in range(len(steps.before))]
    reads, gradients = _reads(inner, steps), _gradients(inner, steps)
    values = dict(zip(steps.body.inputs, [*starts, *(t.inner for t in reads)], strict=True))
    arrived = [(steps.emitted[k], t.inner) for (k, _), t in zip(steps.g_emitted, gradients, strict=True)]
    step = reversed_step(inner, steps, values, arrived)
    writes = [Track(step.found[s], t.outer, t.axis, t.direction)
              for s, t in zip(steps.slices, reads, strict=True) if s in step.found]  # fmt: skip
    if not (step.results or writes):  # the gradients end inside the body
        return []
    close(inner, [*step.results, *(t.inner for t in writes)])
    tracks = _recorded(steps, starts) + ([t for t in reads if t.inner.value.uses()] or reads[:1]) + gradients
    inner.graph.inputs.extend(t.value for t in (*step.arguments, *(t.inner for t in tracks)))
    operands = [*first_states(steps, step), *(t.outer for t in tracks)]
    attributes = _attributes(inner, tracks, writes)
    results = n.emit.append("Scan", [t.value for t in operands], len(inner.graph.outputs), "", attributes)
    pairs = zip([*outside(steps, step), *(t.outer for t in writes)], results, strict=True)
    return [(t.value, restored(n.emit.term(v), t)) for t, v in pairs if t.value in wanted]


def _steps(n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, g: Sequence[Term | None]) -> Steps:
    body, operands = n.node.attributes["body"].as_graph(), [n.input(i) for i in range(len(n.node.inputs))]
    count = len(operands) - n.attr("num_scan_inputs")
    return Steps(
        n, body, initial=tuple(operands[:count]), before=tuple(body.inputs[:count]), after=tuple(body.outputs[:count]),
        emitted=tuple(body.outputs[count:]), sequences=tuple(operands[count:]), slices=tuple(body.inputs[count:]),
        wanted=wanted, g=g, rulebook=rulebook,
    )  # fmt: skip


def _state_shape(steps: Steps, state: int) -> tuple[Any, ...] | None:
    """A Scan keeps the shapes of its states."""
    return steps.initial[state].shape or shape_of(steps.before[state])


def _reads(inner: Emitter, steps: Steps) -> list[Track]:
    axes, directions = _ways(steps.n, "input", len(steps.slices))
    return [
        Track(typed_argument(inner, s, q, shape_of(s)), q, axis, 1 - direction)
        for s, q, axis, direction in zip(steps.slices, steps.sequences, axes, directions, strict=True)
    ]


def _gradients(inner: Emitter, steps: Steps) -> list[Track]:
    axes, directions = _ways(steps.n, "output", len(steps.emitted))
    return [
        Track(typed_argument(inner, steps.emitted[k], g, shape_of(steps.emitted[k])), g, axes[k], 1 - directions[k])
        for k, g in steps.g_emitted
    ]


def _ways(n: NodeView, kind: str, count: int) -> tuple[Sequence[int], Sequence[int]]:
    """Axis and direction of every sequence that the forward node reads ("input") or makes ("output")."""
    return n.attr(f"scan_{kind}_axes", (0,) * count), n.attr(f"scan_{kind}_directions", (0,) * count)


def _attributes(inner: Emitter, tracks: Sequence[Track], writes: Sequence[Track]) -> dict[str, Any]:
    attributes: dict[str, Any] = {"body": inner.graph, "num_scan_inputs": len(tracks)}
    for kind, of_kind in (("input", tracks), ("output", writes)):
        if of_kind:
            attributes[f"scan_{kind}_axes"] = [t.axis for t in of_kind]
            attributes[f"scan_{kind}_directions"] = [t.direction for t in of_kind]
    return attributes


def _recorded(steps: Steps, starts: Sequence[Term]) -> list[Track]:
    """Runs the forward Scan once more for the states before every step, those that are used."""
    needed = [i for i, t in enumerate(starts) if t.value.uses() and t.value.producer() is None]
    if not needed:
        return []
    n, body = steps.n, steps.body
    inner = opened(n.emit, "recorded")
    shapes = [_state_shape(steps, i) for i in range(len(starts))] + [shape_of(s) for s in steps.slices]
    outers = (*steps.initial, *steps.sequences)
    arguments = [typed_argument(inner, v, t, s) for v, t, s in zip(body.inputs, outers, shapes, strict=True)]
    moved = copied(inner, body, dict(zip(body.inputs, arguments, strict=True)))
    close(inner, [*(inner.term(moved.get(a, a)) for a in steps.after), *(arguments[i] for i in needed)])
    inner.graph.inputs.extend(t.value for t in arguments)
    kept = {k: a for k, a in n.node.attributes.items() if k in ("num_scan_inputs", "scan_input_axes", "scan_input_directions")}
    values = n.emit.append("Scan", n.node.inputs, len(inner.graph.outputs), "", kept | {"body": inner.graph})
    records = values[len(starts) :]
    for i, value in zip(needed, records, strict=True):
        value.type, value.shape = starts[i].value.type, _stacked(starts[i])
    return [Track(starts[i], n.emit.term(v)) for i, v in zip(needed, records, strict=True)]


def _stacked(term: Term) -> ir.Shape | None:
    return None if term.shape is None else ir.Shape((None, *term.shape))
