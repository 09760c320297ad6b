"""The backward walk: one rule per forward node, in reverse topological order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

from explainsvc.autograd.emit import Emitter, Term, is_emitted
from explainsvc.autograd.registry import apply_vjps, control_vjp_of, has_vjp, is_stop
from explainsvc.autograd.view import NodeView
from explainsvc.errors import NotDifferentiable

Rule = Callable[..., Sequence[Term | None]]
"""A relevance rule: ``(n, *r) -> relevance of every operand``, from the relevance ``r`` of every result."""

Rulebook = Callable[[NodeView], Rule | None]
"""node → rule that replaces the vjp there, or None."""

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


def gradient_rulebook(_: NodeView) -> Rule | None:
    """The empty rulebook: every node by its vjp."""
    return None


def carries_gradient(value: ir.Value | None) -> bool:
    """Whether a value is of a type that a gradient can have (unknown types are given the benefit of the doubt)."""
    return value is not None and (value.dtype is None or value.dtype in FLOATS)


def leading_to(nodes: Iterable[ir.Node], wanted: Iterable[ir.Value]) -> set[ir.Value]:
    """All values that depend on ``wanted`` through float values, including ``wanted``."""
    reached = set(wanted)
    for node in nodes:
        if any(v in reached for v in operands(node)):
            reached.update(v for v in node.outputs if carries_gradient(v))
    return reached


def operands(node: ir.Node) -> list[ir.Value]:
    """The operands of a node, and what its subgraphs capture from outside."""
    values = [v for v in node.inputs if v is not None]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            values += captured(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            values += [v for g in attribute.as_graphs() for v in captured(g)]
    return values


def captured(graph: ir.Graph) -> list[ir.Value]:
    """Values of enclosing graphs that ``graph`` reads."""
    inner = {v for n in graph for v in n.outputs} | set(graph.inputs) | set(graph.initializers.values())
    read = [v for n in graph for v in operands(n)] + list(graph.outputs)
    return [v for v in read if v not in inner]


def backward(
    emit: Emitter,
    relevance: Mapping[ir.Value, Term],
    wanted: Sequence[ir.Value],
    rulebook: Rulebook = gradient_rulebook,
) -> dict[ir.Value, Term]:
    """Emits the backward pass from the seeded values to the ``wanted`` ones.

    Args:
        emit: Writes into the graph that holds all values named here.
        relevance: Seeded value → its seed (same shape).
        wanted: Values whose gradient or relevance is asked for.
        rulebook: Which nodes are treated by a rule instead of their vjp.

    Returns:
        Value → gradient, for those of ``wanted`` that a gradient reaches.

    Raises:
        NotDifferentiable: A node on the way has neither rule nor vjp; names node and operator.
    """
    forward = [n for n in emit.graph if not is_emitted(n)]
    reached = leading_to(forward, wanted)
    found: dict[ir.Value, Term] = dict(relevance)
    for node in reversed(forward):
        results = [found.get(v) for v in node.outputs]
        asked = [i for i, v in enumerate(node.inputs) if v is not None and v in reached and carries_gradient(v)]
        if all(r is None for r in results) or not (asked or any(v in reached for v in operands(node))):
            continue
        n = NodeView(node, emit, tuple(asked))
        emit.scope = node.name or (node.outputs[0].name or node.op_type)
        towards = list(dict.fromkeys(v for v in operands(node) if v in reached and carries_gradient(v)))
        for value, term in contributions(n, results, towards, rulebook):
            found[value] = _accumulated(found.get(value), term, emit.term(value))
    emit.scope = ""
    return {v: found[v] for v in wanted if v in found}


def contributions(
    n: NodeView, results: Sequence[Term | None], reached: Sequence[ir.Value], rulebook: Rulebook
) -> Iterable[tuple[ir.Value, Term]]:
    """What one node sends back to its operands, and to ``reached`` that its subgraphs read.

    Raises:
        NotDifferentiable: It has neither rule nor vjp, or its rule refuses it; names the node and the operator.
    """
    try:
        return list(_contributions(n, results, reached, rulebook))
    except NotDifferentiable as error:
        raise error.knowing(node=n.node.name or "", operator=f"{n.node.domain or 'ai.onnx'}::{n.op_type}") from error


def _contributions(
    n: NodeView, results: Sequence[Term | None], reached: Sequence[ir.Value], rulebook: Rulebook
) -> Iterable[tuple[ir.Value, Term]]:
    rule = rulebook(n)
    if rule is None and is_stop(n):
        return []
    if rule is None and (control := control_vjp_of(n)) is not None:
        return control(n, reached, rulebook, *results)
    if not n.asked:
        raise _no_rule(n, "the values that its subgraphs read")
    terms = dict(enumerate(rule(n, *results))) if rule is not None else _vjps(n, results)
    sent = [(n.node.inputs[i], terms.get(i)) for i in n.asked]
    return [(v, t) for v, t in sent if v is not None and t is not None]


def _vjps(n: NodeView, results: Sequence[Term | None]) -> dict[int, Term | None]:
    for operand in n.asked:
        if not has_vjp(n, operand):
            raise _no_rule(n, f"its input {operand}")
    return apply_vjps(n, *results)


def _no_rule(n: NodeView, what: str) -> NotDifferentiable:
    before = ", or the model as it was before onnxruntime optimised it" if n.node.domain.startswith("com.microsoft") else ""
    return NotDifferentiable(
        f"operator {n.node.domain or 'ai.onnx'}::{n.op_type} has no derivative rule for {what}",
        where=n.where(),
        expected="an operator of the vjp table (explainsvc.autograd.known_operators())",
        to_do=f"Use a perturbation method such as occlusion, or explain a value before this node{before}",
    )


def nodes_between(graph: ir.Graph, wanted: Iterable[ir.Value], target: ir.Value) -> list[ir.Node]:
    """The forward nodes on float paths from ``wanted`` to ``target``, in topological order."""
    forward = [n for n in graph if not is_emitted(n)]
    reached = leading_to(forward, wanted)
    needed, path = {target}, []
    for node in reversed(forward):
        if any(v in needed for v in node.outputs) and any(v in reached for v in operands(node)):
            path.append(node)
            needed.update(v for v in operands(node) if v in reached)
    return path[::-1]


def _accumulated(earlier: Term | None, term: Term, value: Term) -> Term:
    """Relevance of a value used several times is summed; it has that value's shape and type by definition."""
    total = term if earlier is None else _sum(earlier, term, value)
    if total.value.is_graph_input() or total.value.is_initializer() or total.shape == value.shape:
        return total
    return total.like(value) if total.value.producer() is not None and is_emitted_value(total.value) else total


def _sum(earlier: Term, term: Term, value: Term) -> Term:
    """Earlier + term. Rules that end in a ⊙ (…) share the factor a: a ⊙ u + a ⊙ v = a ⊙ (u + v), one pass over it less."""
    u, v = _cofactor(earlier, value), _cofactor(term, value)
    return earlier + term if u is None or v is None else value * (u + v)


def _cofactor(term: Term, factor: Term) -> Term | None:
    """What an emitted product with ``factor`` on the left has on the right."""
    node = term.value.producer()
    if node is None or node.op_type != "Mul" or not is_emitted(node) or node.inputs[0] is not factor.value:
        return None
    right = node.inputs[1]
    return None if right is None else term.emit.term(right)


def is_emitted_value(value: ir.Value) -> bool:
    """Whether the value is the result of an emitted node."""
    producer = value.producer()
    return producer is not None and is_emitted(producer)
