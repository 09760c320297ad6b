"""DeepLIFT at operators that are formulas of simpler ones: the formula is emitted, at x and at x′, and walked back by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.autograd.backward import contributions, leading_to
from explainsvc.autograd.reference import Reference
from explainsvc.rules.deeplift import refusal

Definition = Callable[..., "Term | Sequence[Term | None]"]
"""``(n, *operands) -> the result``, or results, None for those that have no formula; omitted operands are None."""


def deeplift_definition(definition: Definition, reference: Reference, rulebook: Rulebook) -> Rule:
    """The multipliers of a node by its definition; ``rulebook`` knows the operators that it uses."""

    def rule(n: NodeView, *m: Term | None) -> list[Term | None]:
        emit, last = n.emit, next(reversed(n.emit.graph))
        # copies of the operands: one value may be several of them, and may be read elsewhere
        copies = {
            i: emit.op("Identity", t, shape=t.shape) for i, t in enumerate(n.inputs) if t is not None and reference.changes(t)
        }
        made = definition(n, *(copies.get(i, t) for i, t in enumerate(n.inputs)))
        written = list(takewhile(lambda node: node is not last, reversed(emit.graph)))[::-1]
        start = _seeds(n, [made] if isinstance(made, Term) else made, m)
        twins = {copy.value: reference.at(n.input(i)) for i, copy in copies.items()}
        inner = [node for node in written if node.outputs[0] not in twins]
        reference.mirror(inner, twins)
        asked = {copies[i].value: i for i in n.asked if i in copies}
        found = _walk(inner, start, list(asked), n, rulebook)
        back = {i: found[value] for value, i in asked.items() if value in found}
        return [back.get(i) for i in range(len(n.node.inputs))]

    return rule


def _seeds(n: NodeView, results: Sequence[Term | None], m: Sequence[Term | None]) -> dict[ir.Value, Term]:
    """Multipliers of the definition's results."""
    padded = [*results, *[None] * (len(m) - len(results))]
    if any(given is not None and result is None for given, result in zip(m, padded, strict=False)):
        raise refusal(n, "the statistics that are results of")
    return {r.value: given for r, given in zip(padded, m, strict=False) if r is not None and given is not None}


def _walk(
    nodes: Sequence[ir.Node], found: dict[ir.Value, Term], wanted: list[ir.Value], n: NodeView, rulebook: Rulebook
) -> dict[ir.Value, Term]:
    """From the results back to ``wanted``, through nodes that all have rules."""
    reached = leading_to(nodes, wanted)
    for node in reversed(nodes):
        for value, term in _sent(NodeView(node, n.emit, _asked(node, reached)), found, rulebook):
            found[value] = found[value] + term if value in found else term
    return found


def _asked(node: ir.Node, reached: set[ir.Value]) -> tuple[int, ...]:
    return tuple(i for i, v in enumerate(node.inputs) if v in reached)


def _sent(view: NodeView, found: Mapping[ir.Value, Term], rulebook: Rulebook) -> Iterator[tuple[ir.Value, Term]]:
    results = [found.get(v) for v in view.node.outputs]
    if view.asked and any(r is not None for r in results):
        yield from contributions(view, results, [], rulebook)
