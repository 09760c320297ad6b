"""The forward pass once more, on other inputs: what every value would be at a baseline, inside the same graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import onnx_ir as ir

from explainsvc.autograd.backward import operands
from explainsvc.autograd.emit import Emitter, Term, is_emitted
from explainsvc.errors import NotDifferentiable

SHAPE_READERS = frozenset("Shape Size EyeLike RandomNormalLike RandomUniformLike".split())
"""They do not see the values of their operand: their results are the same at the baseline, and are not computed twice."""
NEAR = 1e-7
"""Below this |x − x′| a difference quotient is replaced by the derivative (the DeepLIFT authors' own code: 1e-7)."""


@dataclass(frozen=True)
class Reference:
    """Every value that depends on some inputs, at x and at the baseline x′.

    Attributes:
        emit: Writes into the graph that holds all values named here.
        baselines: Input → the term that takes its place.
        target: Nodes that do not lead to it are left out.
    """

    emit: Emitter
    baselines: Mapping[ir.Value, Term]
    target: ir.Value
    _terms: dict[tuple[str, ir.Value], Term] = field(default_factory=dict)
    _behind: dict[ir.Value, ir.Node] = field(default_factory=dict)

    @cached_property
    def _twins(self) -> dict[ir.Value, ir.Value]:
        """Value → the same at the baseline; filled with the forward pass when first asked for."""
        twins = {value: term.value for value, term in self.baselines.items()}
        self._mirror(_leading_from(self.emit.graph, self.target), twins)
        return twins

    def mirror(self, nodes: Iterable[ir.Node], replaced: Mapping[ir.Value, Term]) -> None:
        """Emits ``nodes`` (topological order), which a rule has written, once more at the baseline.

        Args:
            nodes: Those that depend on no changing value are left alone.
            replaced: Values that stand for others in these nodes → what they are at the baseline.
        """
        self._twins.update((value, term.value) for value, term in replaced.items())
        self._mirror(nodes, self._twins)

    def _mirror(self, nodes: Iterable[ir.Node], twins: dict[ir.Value, ir.Value]) -> None:
        scope = self.emit.scope
        for node in nodes:
            blocking = next((self._behind[v] for v in operands(node) if v in self._behind), None)
            changes = node.op_type not in SHAPE_READERS and any(v in twins for v in operands(node))
            if changes and blocking is None and _has_subgraphs(node):
                blocking = node
            if blocking is not None:
                self._behind.update(dict.fromkeys(node.outputs, blocking))
            elif changes:
                self.emit.scope = node.name or node.outputs[0].name or node.op_type
                twins.update(zip(node.outputs, self._copy(node, twins), strict=True))
        self.emit.scope = scope

    def _copy(self, node: ir.Node, twins: Mapping[ir.Value, ir.Value]) -> Iterable[ir.Value]:
        """The same operator on the operands' twins."""
        values = self.emit.append(
            node.op_type,
            [None if v is None else twins.get(v, v) for v in node.inputs],
            len(node.outputs),
            node.domain,
            dict(node.attributes.items()),
            names=[self.emit.fresh("reference") if v.name else "" for v in node.outputs],
        )
        for new, old in zip(values, node.outputs, strict=True):
            new.shape, new.type = old.shape, old.type
        return values

    def changes(self, term: Term | None) -> bool:
        """Whether a value may differ between x and x′.

        Raises:
            NotDifferentiable: It comes from a node whose subgraphs read changing values.
        """
        if term is None:
            return False
        changing = term.value in self._twins
        if term.value in self._behind:
            raise _control_flow(self._behind[term.value])
        return changing

    def at(self, term: Term) -> Term:
        """x′: the value at the baseline; itself where it does not depend on the inputs. Raises as :meth:`changes`."""
        return Term(self._twins[term.value], self.emit) if self.changes(term) else term

    def difference(self, term: Term) -> Term:
        """Δx = x − x′."""
        return self._once("difference", term, lambda: term - self.at(term) if self.changes(term) else self.emit.zeros_like(term))

    def middle(self, term: Term) -> Term:
        """(x + x′) / 2; x itself where it does not change."""
        return self._once("middle", term, lambda: (term + self.at(term)) * 0.5 if self.changes(term) else term)

    def apart(self, term: Term) -> Term:
        """Where |Δx| ≥ 1e-7 (bool): a quotient by Δx is meant to be used there only. False for NaN, as of ∞ − ∞."""
        return self._once("apart", term, lambda: self.emit.op("Abs", self.difference(term)) >= NEAR)

    def _once(self, what: str, term: Term, emitted: Callable[[], Term]) -> Term:
        """Terms that several rules use are emitted once."""
        key = (what, term.value)
        if key not in self._terms:
            self._terms[key] = emitted()
        return self._terms[key]


def _leading_from(graph: ir.Graph, target: ir.Value) -> list[ir.Node]:
    """The forward nodes that ``target`` depends on in any way, in topological order."""
    needed, found = {target}, []
    for node in reversed([n for n in graph if not is_emitted(n)]):
        if any(v in needed for v in node.outputs):
            found.append(node)
            needed.update(operands(node))
    return found[::-1]


def _has_subgraphs(node: ir.Node) -> bool:
    return any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())


def _control_flow(node: ir.Node) -> NotDifferentiable:
    return NotDifferentiable(
        f"{node.op_type} cannot be held against a baseline: its subgraphs depend on the explained input",
        where=f'node "{node.name or node.outputs[0].name}" ({node.op_type})',
        expected="no control flow between the input and the target",
        to_do="Use integrated_gradients or occlusion, or explain a value before this node",
    )
