"""Rulebooks of LRP as values: ordered rows that say which rule at which node; the first matching row wins."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.cards import plain, read_params
from explainsvc.errors import InvalidParameter, NotDifferentiable, Violation
from explainsvc.nodes import operator_name
from explainsvc.rules.lrp import LINEAR, ROUTING, SHARING, refuse
from explainsvc.rules.lrp_table import KINDS, RULES

Position = Literal["any", "first", "last"]
Output = Literal["value", "relu", "one"]
"""The relevance that the target starts with: its value, its positive part, or one."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        rule: A name of :data:`RULES`.
        operators: ONNX operators and words of :data:`KINDS`; empty: all that the rule is defined for.
        parameters: Of the rule.
        position: "first": only linear layers that no other one precedes on the way from the inputs; "last": that none follows.
        nodes: Glob that the node's name, or that of one of its results, matches.
        followed_by: "Relu": only where the result enters ReLUs, after sums and routing, before a linear layer or the target.
    """

    rule: str
    operators: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    position: Position = "any"
    nodes: str = "*"
    followed_by: Literal["", "Relu"] = ""

    @property
    def covers(self) -> frozenset[str] | None:
        """The operators, words replaced by what they mean; None: every one."""
        named = frozenset().union(*(KINDS.get(word, {word}) for word in self.operators))
        return named if self.operators else RULES[self.rule].operators

    def settled(self, bias: bool) -> Any:
        """Its parameters, "as in the whole rulebook" settled."""
        p: Any = read_params(RULES[self.rule].params, self.parameters, self.rule)
        return dataclasses.replace(p, bias="counted" if bias else "ignored") if getattr(p, "bias", None) == "" else p

    def made(self, bias: bool) -> Rule | None:
        """The rule.

        Raises:
            InvalidParameter: Its parameters are wrong.
        """
        p = self.settled(bias)
        return RULES[self.rule].make(p, getattr(p, "bias", "") == "counted")


COMMON = (Row("share"), Row("pass_through", ("activation",)), Row("route"))
"""What every rulebook ends in: sums by shares, activations and routing passed; the rest is refused."""


@dataclass(frozen=True)
class Table:
    """A rulebook as data: its rows, and what the target starts with."""

    rows: tuple[Row, ...]
    output: Output = "value"


class LrpRulebook:
    """node → rule, for one path from inputs to a target.

    Args:
        rows: The rows; :data:`COMMON` follow them.
        path: The nodes between inputs and target, in topological order.
        bias: Whether biases count where a row does not say.
        own: Whether the user wrote the rows, and can add one where a node has none.

    Raises:
        InvalidParameter: Wrong parameters; a row that names nodes matches none.
    """

    def __init__(self, rows: Sequence[Row], path: Iterable[NodeView], bias: bool, own: bool = False) -> None:
        nodes = [n.node for n in path]
        ends = {"first": first_layers(nodes), "last": last_layers(nodes)}
        self._ends, self._own = ends, own
        rectified = before_relu(nodes) if any(row.followed_by for row in rows) else set()
        self._bias = bias
        self._rows = [(row, row.covers, ends.get(row.position), row.made(bias)) for row in (*rows, *COMMON)]
        self._rectified = rectified
        _require_matches(rows, nodes)

    def __call__(self, n: NodeView) -> Rule | None:
        """The rule of a node; None for its vjp."""
        found = self._find(n.node)
        if found is not None:
            return found[1]
        return uncovered(tuple(end for end, layers in self._ends.items() if n.node in layers)) if self._own else refuse

    def treatment(self, node: ir.Node) -> tuple[str, Mapping[str, Any]]:
        """The rule of a node by name, its parameters in force."""
        found = self._find(node)
        return ("refuse", {}) if found is None else (found[0].rule, plain(dataclasses.asdict(found[0].settled(self._bias))))

    def _find(self, node: ir.Node) -> tuple[Row, Rule | None] | None:
        for row, covers, where, rule in self._rows:
            if covers is not None and (node.domain not in ("", "ai.onnx") or node.op_type not in covers):
                continue
            if (where is None or node in where) and (not row.followed_by or node in self._rectified) and _named(node, row.nodes):
                return row, rule
        return None


@cache
def uncovered(ends: tuple[str, ...]) -> Rule:
    """Refuses a node that no row matches; ``ends``: whether it is a first or last linear layer."""

    def rule(n: NodeView, *_: Term | None) -> list[Term | None]:
        known = n.node.domain in ("", "ai.onnx")
        fitting = [name for name, kind in RULES.items() if kind.operators is None or (known and n.op_type in kind.operators)]
        position = (
            f"position {' and '.join(ends) or 'neither first nor last'}" if n.op_type in LINEAR else "which has no position"
        )
        general = "lrp_epsilon" if "lrp_epsilon" in fitting else "gradient"
        raise NotDifferentiable(
            f"no row of the rulebook covers this node, {operator_name(n.node)}, {position}", where=n.where(),
            expected=f"a row that matches it, with a rule that is defined for it: {', '.join(fitting)}",
            to_do=f'Add a catch-all row as the last one, such as {{"rule": "{general}"}}, or name a preset, whose rows follow',
        )  # fmt: skip

    return rule


def _named(node: ir.Node, pattern: str) -> bool:
    return pattern == "*" or any(fnmatchcase(name or "", pattern) for name in (node.name, *(v.name for v in node.outputs)))


def _require_matches(rows: Sequence[Row], nodes: Sequence[ir.Node]) -> None:
    """A name that no node has is a mistake, which would show in no result."""
    idle = [
        Violation(f"rows[{k}].nodes", f'"{row.nodes}" matches no node between the inputs and the target')
        for k, row in enumerate(rows)
        if not any(_named(node, row.nodes) for node in nodes)
    ]
    if idle and nodes:
        raise InvalidParameter(
            "a rulebook names nodes that are not on the way", violations=idle,
            to_do="A dry run lists the nodes by their names",
        )  # fmt: skip


def first_layers(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """Linear layers of a path (topological order) that no other linear layer of it precedes."""
    return _foremost(nodes, lambda node: node.inputs, lambda node: node.outputs)


def last_layers(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """Linear layers of a path that no other linear layer of it follows."""
    return _foremost(nodes[::-1], lambda node: node.outputs, lambda node: node.inputs)


Ends = Callable[[ir.Node], Sequence[ir.Value | None]]


def _foremost(nodes: Sequence[ir.Node], near: Ends, far: Ends) -> set[ir.Node]:
    """Linear layers that no other one comes before in this order; a node is passed from its ``near`` values to its ``far``."""
    behind: set[ir.Value | None] = set()
    found = set()
    for node in nodes:
        late = any(v in behind for v in near(node) if v is not None)
        if node.op_type in LINEAR and not late:
            found.add(node)
        if node.op_type in LINEAR or late:
            behind.update(far(node))
    return found


def before_relu(nodes: Sequence[ir.Node]) -> set[ir.Node]:
    """Nodes of a path whose results reach ReLUs, on every way, before a linear layer, another activation or the target."""
    readers: dict[ir.Value, list[ir.Node]] = defaultdict(list)
    found: set[ir.Node] = set()
    for node in reversed(nodes):
        reading = [m for v in node.outputs for m in readers[v]]
        if reading and all(m.op_type == "Relu" or (m.op_type in SHARING | ROUTING and m in found) for m in reading):
            found.add(node)
        for value in node.inputs:
            if value is not None:
                readers[value].append(node)
    return found
