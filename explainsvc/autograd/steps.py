"""What Scan and Loop share: a body that runs step after step, states that one step hands to the next.

The backward pass runs the steps in reverse order. One step of it reads the states from which the forward step started,
computes that step again, and has as its own states the gradients of the forward states, and per captured value the sum
of the gradients so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook, carries_gradient, leading_to
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import Shape
from explainsvc.autograd.subgraphs import Seeds, argument, differentiated
from explainsvc.autograd.view import NodeView
from explainsvc.errors import NotDifferentiable


@dataclass(frozen=True)
class Steps:
    """The states of a Scan or Loop: per state its value around the node, and in the body before and after a step.

    ``emitted``: the outputs of the body of which the node makes sequences.
    """

    n: NodeView
    body: ir.Graph
    initial: tuple[Term, ...]
    final: tuple[Term, ...]
    before: tuple[ir.Value, ...]
    after: tuple[ir.Value, ...]
    emitted: tuple[ir.Value, ...]

    def invariant(self, state: int) -> bool:
        """Whether every step hands the state on as it is."""
        value: ir.Value | None = self.after[state]
        while value is not None and (producer := value.producer()) is not None and producer.op_type == "Identity":
            value = producer.inputs[0]
        return value is self.before[state]

    def like(self, state: int, shape: Shape | None) -> Term:
        """A value with the type of a state, for :func:`argument`."""
        kind = self.before[state].type or self.initial[state].value.type
        return self.n.emit.term(ir.Value(type=kind, shape=None if shape is None else ir.Shape(shape)))

    def carried(self, wanted: Sequence[ir.Value], seeded: Sequence[ir.Value]) -> list[int]:
        """States through which a gradient flows: they depend on ``wanted``, and ``seeded`` values depend on them.

        Args:
            wanted: Inputs of the body, or values that it captures.
            seeded: Outputs of the body.
        """
        pairs = list(enumerate(zip(self.before, self.after, strict=True)))
        reached, ends = set(wanted), set(seeded)
        while more := {b for _, (b, a) in pairs if carries_gradient(a) and a in leading_to(self.body, reached)} - reached:
            reached |= more
        while more := {a for _, (b, a) in pairs if leading_to(self.body, [b]) & ends} - ends:
            ends |= more
        return [i for i, (b, a) in pairs if b in reached and a in ends and carries_gradient(self.initial[i].value)]

    def refuse(self, what: str) -> NotDifferentiable:
        """The error for what this cannot do."""
        return NotDifferentiable(
            what,
            where=self.n.where(),
            expected="tensors as the states of loops",
            to_do="Use a perturbation method such as occlusion, or export the model with the loop unrolled",
        )


@dataclass(frozen=True)
class Reversed:
    """One step of the backward pass. ``arguments`` and ``results``: its states, in the order of ``carried``, ``captured``.

    ``found``: all gradients of the step by forward value.
    """

    carried: list[int]
    captured: list[ir.Value]
    arguments: list[Term]
    results: list[Term]
    found: dict[ir.Value, Term]


def reversed_step(
    inner: Emitter,
    steps: Steps,
    values: Mapping[ir.Value, Term],
    emitted: Seeds,
    wanted: Sequence[ir.Value],
    g: Sequence[Term | None],
    rulebook: Rulebook,
) -> Reversed:
    """Emits one step of the backward pass.

    Args:
        inner: Writes into its subgraph.
        steps: The forward node.
        values: Input of the forward body → its value in the step that is reversed.
        emitted: Gradients of what the step emitted.
        wanted: Initial states' inputs of the body, slices, and captured values, whose gradients are asked for.
        g: Gradients of the final states.
        rulebook: Which nodes are treated by a rule instead of their vjp.

    Raises:
        NotDifferentiable: A state that the gradient passes is a sequence; or a node has no rule.
    """
    pairs = list(emitted)
    seeded = [a for a, t in zip(steps.after, g, strict=True) if t is not None] + [v for v, _ in pairs]
    carried = steps.carried(wanted, seeded)
    for i in carried:
        if not is_tensor(steps.initial[i].value):
            raise steps.refuse(f"state {i} is a sequence or optional, which no gradient passes")
    flowing = [argument(inner, values[steps.before[i]]) for i in carried]
    targets = list(dict.fromkeys([*(steps.before[i] for i in carried), *wanted]))
    seeds = [*((steps.after[i], t) for i, t in zip(carried, flowing, strict=True)), *pairs]
    found = differentiated(inner, steps.body, values, seeds, targets, rulebook)
    captured = [v for v in wanted if v in found and v not in values]
    sums = [argument(inner, inner.term(v)) for v in captured]
    states = [_state_gradient(inner, values[steps.before[i]], found.get(steps.before[i])) for i in carried]
    totals = [total + found[v] for total, v in zip(sums, captured, strict=True)]
    return Reversed(carried, captured, [*flowing, *sums], [*states, *totals], found)


def _state_gradient(inner: Emitter, state: Term, found: Term | None) -> Term:
    return inner.zeros_like(state) if found is None else found


def started(steps: Steps, step: Reversed, g: Sequence[Term | None]) -> list[Term]:
    """What the states of the backward pass start from: gradients of the final states, zero sums."""
    emit = steps.n.emit
    finals = [emit.zeros_like(steps.final[i]) if (t := g[i]) is None else t for i in step.carried]
    return finals + [emit.zeros_like(emit.term(v)) for v in step.captured]


def is_tensor(value: ir.Value) -> bool:
    """Whether a value is a tensor, as far as is known."""
    return value.type is None or isinstance(value.type, ir.TensorType)
