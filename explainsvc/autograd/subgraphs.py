"""Subgraphs that hold a copy of a forward one and its backward pass: opened, filled, closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook, backward
from explainsvc.autograd.emit import Emitter, Term

Seeds = Iterable[tuple[ir.Value, Term]]
"""Value of a forward subgraph → its gradient; values may repeat, gradients are then summed."""


def opened(emit: Emitter, name: str) -> Emitter:
    """Writes into a new, empty subgraph."""
    return emit.inside(ir.Graph([], [], nodes=[], name=emit.fresh(name)))


def argument(inner: Emitter, like: Term) -> Term:
    """A value of the shape and type of ``like`` without a producer: an input of the subgraph once it is closed."""
    shape = None if like.shape is None else ir.Shape(like.shape)
    return inner.term(ir.Value(name=inner.fresh("argument"), type=like.value.type, shape=shape))


def copied(inner: Emitter, graph: ir.Graph, arguments: Mapping[ir.Value, Term]) -> dict[ir.Value, ir.Value]:
    """Copies the nodes of ``graph`` into the one that ``inner`` writes, captured values left as they are.

    Args:
        inner: Writes into the new subgraph.
        graph: A subgraph of the forward graph; not changed.
        arguments: Input of ``graph`` → what the copy reads instead.

    Returns:
        Value of ``graph`` → value of the copy.
    """
    twin = graph.clone(allow_outer_scope_values=True)
    moved = dict(zip(_own_values(graph), _own_values(twin), strict=True))
    initializers = [twin.initializers.pop(name) for name in list(twin.initializers)]
    twin.outputs.clear()
    for old, new in zip(graph.inputs, twin.inputs, strict=True):
        if old in arguments:
            new.replace_all_uses_with(arguments[old].value)
            moved[old] = arguments[old].value
    _rename(inner, twin, initializers)
    nodes = list(twin)
    twin.remove(nodes)
    inner.graph.extend(nodes)
    for value in initializers:
        inner.graph.register_initializer(value)
    return moved


def _own_values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs)]


def _rename(inner: Emitter, twin: ir.Graph, initializers: Sequence[ir.Value]) -> None:
    """No name may be given twice over a graph and its subgraphs. Nodes keep theirs, by which rules find them."""
    nested = [v for g in twin.subgraphs() if g is not twin for v in (*g.inputs, *g.initializers.values())]
    results = [v for n in twin.all_nodes() for v in n.outputs if v.name]
    for value in (*initializers, *nested, *results):
        value.name = inner.fresh(value.name or "value")


def differentiated(
    inner: Emitter,
    graph: ir.Graph,
    arguments: Mapping[ir.Value, Term],
    seeds: Seeds,
    wanted: Sequence[ir.Value],
    rulebook: Rulebook,
) -> dict[ir.Value, Term]:
    """Copies ``graph`` and emits the backward pass of the copy.

    Args:
        inner: Writes into the new subgraph.
        graph: A subgraph of the forward graph.
        arguments: Input of ``graph`` → what the copy reads instead.
        seeds: Gradients of outputs of ``graph``.
        wanted: Inputs of ``graph``, or values that it captures.
        rulebook: Which nodes are treated by a rule instead of their vjp.

    Returns:
        Value → gradient, for those of ``wanted`` that a gradient reaches.
    """
    moved = copied(inner, graph, arguments)
    relevance: dict[ir.Value, Term] = {}
    for value, seed in seeds:
        place = moved.get(value, value)
        relevance[place] = relevance[place] + seed if place in relevance else seed
    places = {value: moved.get(value, value) for value in wanted}
    found = backward(inner, relevance, list(places.values()), rulebook)
    return {value: found[place] for value, place in places.items() if place in found}


def close(inner: Emitter, results: Iterable[Term]) -> None:
    """Makes ``results`` the outputs of the subgraph and drops what they do not need. Its inputs are left to the caller."""
    for term in results:
        producer = term.value.producer()
        own = producer is not None and producer.graph is inner.graph and term.value not in inner.graph.outputs
        value = term.value if own else inner.op("Identity", inner.term(term.value), shape=term.shape).value
        inner.graph.outputs.append(value)
    _drop_unused(inner.graph)


def _drop_unused(graph: ir.Graph) -> None:
    """Removes the nodes that nothing reads, those of their subgraphs first: they too are readers."""
    for node in reversed(list(graph)):
        if not any(v.uses() or v.is_graph_output() for v in node.outputs):
            for subgraph in _subgraphs(node):
                subgraph.outputs.clear()
                _drop_unused(subgraph)
            graph.remove(node, safe=True)


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    nested = [a for a in node.attributes.values() if a.type in kinds]
    return [g for a in nested for g in ([a.as_graph()] if a.type == ir.AttributeType.GRAPH else a.as_graphs())]
