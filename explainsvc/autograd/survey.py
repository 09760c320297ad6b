"""How every node between input and target is treated, with the reason where its treatment is refused.

The walk ends at the first node that it cannot pass. A survey asks every node for itself, with a stand-in of the right
shape for the relevance that would come by.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from explainsvc.autograd.backward import (
    Rule,
    Rulebook,
    carries_gradient,
    contributions,
    gradient_rulebook,
    leading_to,
    nodes_between,
    operands,
)
from explainsvc.autograd.emit import Emitter
from explainsvc.autograd.registry import control_vjp_of, has_vjp, is_stop
from explainsvc.autograd.view import NodeView
from explainsvc.errors import ExplainsvcError


@dataclass(frozen=True)
class Outcome:
    """The treatment of one node: the name of its rule, else "vjp", "stop" or "control"; or why it is refused.

    ``sent``: the values that it hands something back to.
    """

    treatment: str
    refusal: ExplainsvcError | None = None
    sent: frozenset[ir.Value] = frozenset()


def rule_name(rule: Rule) -> str:
    """The name of a rule: that of its function, or of the function that made it (``lrp_epsilon(1e-6)`` is lrp_epsilon)."""
    name: str = rule.__qualname__
    return name.partition(".")[0]


def treatment(n: NodeView, rulebook: Rulebook = gradient_rulebook) -> str:
    """The rule of a node, else "stop", "control" or "vjp" by the table, "" where the table does not have it."""
    rule = rulebook(n)
    if rule is not None:
        return rule_name(rule)
    if is_stop(n):
        return "stop"
    if control_vjp_of(n) is not None:
        return "control"
    return "vjp" if any(has_vjp(n, i) for i in range(len(n.node.inputs))) else ""


Known = dict[tuple[ir.Node, Rule | None, tuple[int, ...], tuple[bool, ...]], Outcome]
"""(node, rule, operands asked for, results that carry something) → outcome."""


@dataclass
class Survey:
    """The nodes between some inputs and a target, and what has been found out about them.

    ``known``: what surveys of the same graph have found out before; a rule does the same at a node in every rulebook.
    """

    emit: Emitter
    target: ir.Value
    wanted: Sequence[ir.Value]
    known: Known = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = nodes_between(self.emit.graph, self.wanted, self.target)
        self._reached = leading_to(self.path, self.wanted)
        self._needed = {self.target, *(v for node in self.path for v in operands(node) if v in self._reached)}

    def told(self, rulebook: Rulebook) -> dict[ir.Node, Outcome]:
        """What a rulebook whose walk is known to succeed does at each node."""
        return {node: Outcome(treatment(NodeView(node, self.emit), rulebook)) for node in self.path}

    def tried(self, rulebook: Rulebook) -> dict[ir.Node, Outcome]:
        """What becomes of each node by a rulebook whose walk does not come through."""
        return {node: self._outcome(node, rulebook, self._needed) for node in self.path}

    def walked(self, rulebook: Rulebook) -> set[ir.Value]:
        """The values that the walk by a rulebook hands something back to, each node tried for itself.

        Raises:
            ExplainsvcError: What the walk raises.
        """
        found = {self.target}
        for node in reversed(self.path):
            if any(v in found for v in node.outputs):
                outcome = self._outcome(node, rulebook, found)
                if outcome.refusal is not None:
                    raise outcome.refusal
                found |= outcome.sent
        return found

    def _outcome(self, node: ir.Node, rulebook: Rulebook, carrying: Container[ir.Value]) -> Outcome:
        """Only subgraphs have nodes of their own, with rules that differ by rulebook: they are tried anew."""
        towards = [v for v in operands(node) if v in self._reached and carries_gradient(v)]
        asked = tuple(i for i, v in enumerate(node.inputs) if v is not None and v in towards)
        n = NodeView(node, self.emit, asked)
        key = (node, rulebook(n), asked, tuple(v in carrying for v in node.outputs))
        if key in self.known:
            return self.known[key]
        stand_ins = [self.emit.term(v) if v in carrying else None for v in node.outputs]
        try:
            sent = frozenset(v for v, _ in contributions(n, stand_ins, list(dict.fromkeys(towards)), rulebook))
            outcome = Outcome(treatment(n, rulebook), sent=sent)
        except ExplainsvcError as error:
            outcome = Outcome("", error)
        if control_vjp_of(n) is None:
            self.known[key] = outcome
        return outcome
