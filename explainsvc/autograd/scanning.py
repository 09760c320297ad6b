"""Backward pass of a Scan: a Scan that reads and writes all sequences in the opposite direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook, captured
from explainsvc.autograd.emit import Term
from explainsvc.autograd.steps import Steps, reversed_step, started, typed
from explainsvc.autograd.subgraphs import argument, close, copied, opened
from explainsvc.autograd.view import NodeView


def reversed_scan(
    n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, g: Sequence[Term | None]
) -> list[tuple[ir.Value, Term]]:
    """Gradients of the ``wanted`` operands and captured values of a Scan (opset ≥ 9) from those of its results."""
    steps, body = _steps(n), n.node.attributes["body"].as_graph()
    count = len(steps.before)
    slices, sequences = body.inputs[count:], [n.input(i) for i in range(count, len(n.node.inputs))]
    inner = opened(n.emit, "reversed")
    starts = [argument(inner, _start(steps, i)) for i in range(count)]
    reads = [argument(inner, typed(n.emit.term(s), q)) for s, q in zip(slices, sequences, strict=True)]
    arrived = [(k, t) for k, t in enumerate(g[count:]) if t is not None]
    gradients = [argument(inner, typed(n.emit.term(steps.emitted[k]), t)) for k, t in arrived]
    inside = [b for b, v in zip(body.inputs, n.node.inputs, strict=True) if v in wanted]
    inside += [v for v in dict.fromkeys(captured(body)) if v in wanted]
    step = reversed_step(
        inner, steps, dict(zip(body.inputs, [*starts, *reads], strict=True)),
        [(steps.emitted[k], t) for (k, _), t in zip(arrived, gradients, strict=True)], inside, g[:count], rulebook,
    )  # fmt: skip
    written = [m for m, s in enumerate(slices) if s in step.found]
    close(inner, [*step.results, *(step.found[slices[m]] for m in written)])

    needed = [i for i, t in enumerate(starts) if t.value.uses()]
    read = [m for m, t in enumerate(reads) if t.value.uses()] or [0]
    states = [*step.arguments]
    inner.graph.inputs.extend(t.value for t in (*states, *(starts[i] for i in needed), *(reads[m] for m in read), *gradients))
    ways_in, ways_out = _ways(n, "input", len(sequences)), _ways(n, "output", len(steps.emitted))
    back_in = [_Way(0, 1)] * len(needed) + [ways_in[m].back() for m in read] + [ways_out[k].back() for k, _ in arrived]
    back_out = [ways_in[m].back() for m in written]
    outer = [*started(steps, step, g[:count]), *_recorded(steps, needed), *(sequences[m] for m in read), *(t for _, t in arrived)]
    values = n.emit.append(
        "Scan", [t.value for t in outer], len(states) + len(written), "",
        {"body": inner.graph, "num_scan_inputs": len(back_in)} | _attributes("input", back_in) | _attributes("output", back_out),
    )  # fmt: skip
    targets = [*(steps.initial[i] for i in step.carried), *(n.emit.term(v) for v in step.captured), *(sequences[m] for m in written)]
    return [(t.value, n.emit.term(v).like(t)) for t, v in zip(targets, values, strict=True) if t.value in wanted]
