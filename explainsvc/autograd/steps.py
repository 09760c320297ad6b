"""What Scan and Loop share: a body that runs step after step, states that one step hands to the next.

The backward pass runs the steps in reverse order. One step of it reads the states from which the forward step started,
computes that step again, and has as its own states the gradients of the forward states, and per captured value the sum
of the gradients so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook, captured, carries_gradient, leading_to
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import Shape, shape_of
from explainsvc.autograd.subgraphs import argument, differentiated
from explainsvc.autograd.view import NodeView
from explainsvc.errors import NotDifferentiable

Pairs = list[tuple[ir.Value, Term]]
"""Values with their gradients."""


@dataclass(frozen=True)
class Steps:
    """A Scan or Loop, and what is asked of it.

    Per state: ``initial`` and ``final`` outside, ``before`` and ``after`` a step in the body.
    Per sequence that a Scan reads: ``sequences`` outside, ``slices`` in the body.
    ``emitted``: the outputs of the body of which the node makes sequences.
    ``wanted``: operands and captured values; ``g``: gradients of the results, final states first.
    """

    n: NodeView
    body: ir.Graph
    initial: tuple[Term, ...]
    before: tuple[ir.Value, ...]
    after: tuple[ir.Value, ...]
    emitted: tuple[ir.Value, ...]
    sequences: tuple[Term, ...]
    slices: tuple[ir.Value, ...]
    wanted: Sequence[ir.Value]
    g: Sequence[Term | None]
    rulebook: Rulebook

    @property
    def g_final(self) -> Sequence[Term | None]:
        """Gradients of the final states."""
        return self.g[: len(self.before)]

    @property
    def g_emitted(self) -> list[tuple[int, Term]]:
        """Gradients of the sequences that the node makes, by index in ``emitted``, those that exist."""
        return [(k, t) for k, t in enumerate(self.g[len(self.before) :]) if t is not None]

    def final(self, state: int) -> Term:
        """The state after the last step."""
        return self.n.emit.term(self.n.node.outputs[state])

    def asked(self) -> list[ir.Value]:
        """The wanted values as the body sees them: its inputs, and values that it captures."""
        inputs = zip((*self.before, *self.slices), (*self.initial, *self.sequences), strict=True)
        return [v for v, t in inputs if t.value in self.wanted] + [
            v for v in dict.fromkeys(captured(self.body)) if v in self.wanted
        ]

    def invariant(self, state: int) -> bool:
        """Whether every step hands the state on as it is."""
        value: ir.Value | None = self.after[state]
        while value is not None and (producer := value.producer()) is not None and producer.op_type == "Identity":
            value = producer.inputs[0]
        return value is self.before[state]

    def carried(self) -> list[int]:
        """States through which a gradient flows: they depend on a wanted value, and a seeded one depends on them."""
        pairs = list(zip(self.before, self.after, strict=True))
        reached = set(self.asked())
        ends = {a for a, t in zip(self.after, self.g_final, strict=True) if t is not None}
        ends |= {self.emitted[k] for k, _ in self.g_emitted}
        while more := {b for b, a in pairs if carries_gradient(a) and a in leading_to(self.body, reached)} - reached:
            reached |= more
        while more := {a for b, a in pairs if leading_to(self.body, [b]) & ends} - ends:
            ends |= more
        through = [b in reached and a in ends and carries_gradient(t.value)
                   for (b, a), t in zip(pairs, self.initial, strict=True)]  # fmt: skip
        return [i for i, is_through in enumerate(through) if is_through]

    def refuse(self, what: str) -> NotDifferentiable:
        """The error for what we cannot do here."""
        return NotDifferentiable(
            what,
            where=self.n.where(),
            expected="tensors as the states of a loop",
            to_do="Use a perturbation method such as occlusion, or export the model with the loop unrolled",
        )


@dataclass(frozen=True)
class Reversed:
    """One step of the backward pass. ``arguments`` and ``results``: its states, those of ``carried``, then ``summed``.

    ``found``: all gradients of the step by forward value.
    """

    carried: list[int]
    summed: list[ir.Value]
    arguments: list[Term]
    results: list[Term]
    found: dict[ir.Value, Term]


def reversed_step(inner: Emitter, steps: Steps, values: Mapping[ir.Value, Term], emitted: Pairs) -> Reversed:
    """Emits one step of the backward pass.

    Args:
        inner: Writes into its subgraph.
        steps: The forward node.
        values: Input of the forward body → its value in the step that is reversed.
        emitted: Gradients of what that step emitted.

    Raises:
        NotDifferentiable: A state that the gradient passes is a sequence; or a node has no rule.
    """
    carried, asked = steps.carried(), steps.asked()
    for i in carried:
        if not is_tensor(steps.initial[i].value):
            raise steps.refuse(f"its state {i} is not a tensor but a sequence or optional, which no gradient passes")
    starts = [steps.before[i] for i in carried]
    flowing = [argument(inner, values[b]) for b in starts]
    seeds = [*zip((steps.after[i] for i in carried), flowing, strict=True), *emitted]
    found = differentiated(inner, steps.body, values, seeds, list(dict.fromkeys([*starts, *asked])), steps.rulebook)
    summed = [v for v in asked if v in found and v not in values]
    sums = [argument(inner, inner.term(v) if shape_of(v) is not None else _vector(inner, v)) for v in summed]
    states = [found[b] if b in found else inner.zeros_like(values[b]) for b in starts]
    totals = [total + _ranked(found[v], inner.term(v)) for total, v in zip(sums, summed, strict=True)]
    return Reversed(carried, summed, [*flowing, *sums], [*states, *totals], found)


def first_states(steps: Steps, step: Reversed) -> list[Term]:
    """What the states of the backward pass start from: gradients of the final states, zero sums."""
    emit = steps.n.emit
    arrived = [(steps.g_final[i], steps.final(i)) for i in step.carried]
    return [emit.zeros_like(y) if g is None else g for g, y in arrived] + [
        _ranked(emit.zeros_like(emit.term(v)), emit.term(v)) for v in step.summed
    ]


def _vector(inner: Emitter, like: ir.Value) -> Term:
    return inner.term(ir.Value(type=like.type, shape=ir.Shape([None])))


def _ranked(term: Term, value: Term) -> Term:
    """A gradient of ``value``; as a vector where its rank is unknown: onnxruntime wants to know the ranks of Scan's states."""
    return term if value.shape is not None else term.emit.op("Reshape", term, term.emit.ints([-1]), shape=(None,))


def restored(result: Term, value: Term) -> Term:
    """A state of the backward pass in the shape of the value whose gradient it ends as."""
    return result.like(value) if value.shape is not None else result.emit.reshape_like(result, value)


def outside(steps: Steps, step: Reversed) -> list[Term]:
    """The values whose gradients the states of the backward pass end as."""
    return [*(steps.initial[i] for i in step.carried), *(steps.n.emit.term(v) for v in step.summed)]


def state_argument(inner: Emitter, steps: Steps, state: int, shape: Shape | None) -> Term:
    """A state before a step as an argument; one that never changes is read from outside."""
    if steps.invariant(state):
        return inner.op("Identity", inner.term(steps.initial[state].value)).like(steps.initial[state])
    return typed_argument(inner, steps.before[state], steps.initial[state], shape)


def typed_argument(inner: Emitter, like: ir.Value, outer: Term, shape: Shape | None) -> Term:
    """An argument for an input of the body, whose type, where it says none, is the one of the value outside."""
    term = argument(inner, inner.term(like))
    term.value.type = like.type or outer.value.type
    term.value.shape = None if shape is None else ir.Shape(shape)
    return term


def is_tensor(value: ir.Value) -> bool:
    """Whether a value is a tensor, as far as is known."""
    return value.type is None or isinstance(value.type, ir.TensorType)
