"""Finds the roles of nodes (see ``roles``) in a prepared graph, whatever exporter wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from explainsvc.autograd.backward import carries_gradient
from explainsvc.graph.layers import initializer_of
from explainsvc.graph.passes.activations import activations
from explainsvc.graph.passes.regions import places
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.roles import role, set_role

_PRODUCTS = frozenset({"MatMul", "Einsum", "Gemm"})
_MOVES = frozenset("Identity Cast Dropout Reshape Transpose Squeeze Unsqueeze Flatten Expand Slice Concat Pad".split())
_TO_SCORES = _MOVES | frozenset("Add Sub Mul Div Where Max Min Clip Tanh".split())
"""Between the scores and the Softmax: scale, mask, softcap, layout."""
_FROM_WEIGHTS = _MOVES | frozenset("Mul Where".split())
"""Between the Softmax and the product with the values: dropout, torch's guard against rows of NaN, layout."""
_WEIGHTED = frozenset("Conv ConvTranspose Gemm MatMul Einsum LSTM GRU RNN DeformConv".split())
_PROJECTION = frozenset(
    "Identity Cast Dropout Pad AveragePool MaxPool BatchNormalization Conv Gemm MatMul Add Mul Transpose Reshape Flatten "
    "Squeeze Unsqueeze".split()
)
"""What a shortcut may do to x: change its shape, by one layer at most."""
_LAYOUT = frozenset("Transpose Reshape Squeeze Unsqueeze Identity".split())
STEPS = 12
"""Nodes between the products of attention and its Softmax, or on a shortcut: no exporter writes more."""
LONGEST = 2000
"""Nodes that a shortcut may bypass."""


def annotate_roles(model: ir.Model) -> None:
    """Writes the roles into the nodes' metadata; roles that the file came with are forgotten."""
    for node in model.graph.all_nodes():
        set_role(node, None)
    for graph in (model.graph, *model.graph.subgraphs()):
        _activations(graph)
        order = places(graph)
        for node in graph:
            if node.op_type == "Softmax" and node.domain == "":
                _attention(node)
        for node in graph:
            if node.domain != "" or role(node) is not None:
                continue
            if _is_linear(node):
                set_role(node, "linear")
            elif _is_bias(node):
                set_role(node, "linear.bias")
            elif node.op_type == "Add" and _is_residual(node, order):
                set_role(node, "residual")


def _activations(graph: ir.Graph) -> None:
    """x·g(x) where no pass could make it one operator; x itself has to be a factor."""
    for region, _ in activations(graph):
        if region.x in region.root.inputs:
            for node in region.nodes:
                set_role(node, "activation" if node is region.root else "gate")


# Attention ------------------------------------------------------------------------------------------------------------


def _attention(softmax: ir.Node) -> None:
    """Gives the roles where the Softmax stands between two products of activations."""
    scores, before = _reached(softmax.inputs[0], _TO_SCORES, _makers)
    values, _ = _reached(softmax.outputs[0], _FROM_WEIGHTS, _users)
    if not scores or not values:
        return
    set_role(softmax, "attention.softmax")
    for node in scores:
        set_role(node, "attention.scores")
    for node in values:
        set_role(node, "attention.values")
    from_scores = {v for node in scores for v in node.outputs}
    for node in reversed(before):  # towards the Softmax: a mask may have a computation of its own
        if any(v in from_scores for v in node.inputs):
            from_scores.update(node.outputs)
            if node.op_type in ("Add", "Sub", "Where"):
                set_role(node, "attention.mask")


def _reached(
    start: ir.Value | None, through: frozenset[str], step: Callable[[ir.Value], list[ir.Node]]
) -> tuple[list[ir.Node], list[ir.Node]]:
    """The products of two activations that a value comes from (or goes to) through these operators, and what lies between."""
    level, seen = [] if start is None else [start], dict[ir.Node, None]()
    found = []
    for _ in range(STEPS):
        nodes = [n for value in level for n in step(value) if n not in seen and n.domain == ""]
        seen.update(dict.fromkeys(nodes))
        found += [n for n in dict.fromkeys(nodes) if _multiplies_activations(n)]
        onwards = [n for n in dict.fromkeys(nodes) if n.op_type in through]
        level = [
            v for n in onwards for v in (n.inputs if step is _makers else n.outputs) if v is not None and carries_gradient(v)
        ]
    return found, [n for n in seen if n.op_type in through]


def _makers(value: ir.Value) -> list[ir.Node]:
    maker = value.producer()
    return [] if maker is None else [maker]


def _users(value: ir.Value) -> list[ir.Node]:
    return [use.node for use in value.uses()]


def _multiplies_activations(node: ir.Node) -> bool:
    operands = [v for v in node.inputs[:2] if v is not None]
    return node.op_type in _PRODUCTS and len(operands) == 2 and not any(_is_constant(v) for v in operands)


def _is_constant(value: ir.Value) -> bool:
    return constant_of(value) is not None or initializer_of(value) is not None


# Dense layers ---------------------------------------------------------------------------------------------------------


def _is_linear(node: ir.Node) -> bool:
    """One operand is learned, the other an activation; a Conv: over single positions, from and to channels-last."""
    if node.op_type in _PRODUCTS:
        return sum(_is_constant(v) for v in node.inputs[:2] if v is not None) == 1
    return node.op_type == "Conv" and _over_single_positions(node) and _between_transposes(node)


def _over_single_positions(conv: ir.Node) -> bool:
    weight = conv.inputs[1]
    if weight is None or weight.shape is None or any(d != 1 for d in weight.shape[2:]):
        return False
    steps = [n for name in ("strides", "dilations") if name in conv.attributes for n in conv.attributes[name].as_ints()]
    pads = conv.attributes["pads"].as_ints() if "pads" in conv.attributes else []
    return conv.attributes.get_int("group", 1) == 1 and all(n == 1 for n in steps) and not any(pads)


def _between_transposes(conv: ir.Node) -> bool:
    before = after = False
    value = conv.inputs[0]
    while value is not None and (maker := value.producer()) is not None and maker.op_type in _LAYOUT and not before:
        before, value = maker.op_type == "Transpose", maker.inputs[0]
    nodes = _users(conv.outputs[0])
    while len(nodes) == 1 and not after and (nodes[0].op_type in _LAYOUT or _adds_constant(nodes[0])):
        after, nodes = nodes[0].op_type == "Transpose", _users(nodes[0].outputs[0])
    return before and after


def _adds_constant(node: ir.Node) -> bool:
    return node.op_type == "Add" and any(v is not None and _is_constant(v) for v in node.inputs)


def _is_bias(node: ir.Node) -> bool:
    """A constant vector that is added to the result of a dense layer that has no bias yet."""
    if not _adds_constant(node):
        return False
    constants = [a for v in node.inputs if (a := constant_of(v)) is not None]
    makers = [m for v in node.inputs if v is not None for m in _makers(v)]
    heads = [m for m in makers if role(m) == "linear" and m.op_type in ("MatMul", "Einsum")]
    return bool(heads) and len(constants) == 1 and constants[0].size == max(constants[0].shape, default=1)


# Residual sums --------------------------------------------------------------------------------------------------------


def _is_residual(add: ir.Node, order: Mapping[ir.Node, int]) -> bool:
    """Whether one operand is x or a projection of it, and the other comes from the same x through a learned layer."""
    a, b = add.inputs[:2]
    if a is None or b is None or a is b or any(_is_constant(v) or not carries_gradient(v) for v in (a, b)):
        return False
    return _is_shortcut(a, b, order) or _is_shortcut(b, a, order)


def _is_shortcut(short: ir.Value, long: ir.Value, order: Mapping[ir.Node, int]) -> bool:
    """Whether ``short`` is made of some x by one layer at most, and ``long`` of the same x by more."""
    layers, value = 0, short
    for _ in range(STEPS):
        if _layers_between(value, long, order) > layers:
            return True
        maker = value.producer()
        if maker is None or maker.op_type not in _PROJECTION or maker not in order:
            return False
        operands = [v for v in maker.inputs if v is not None and carries_gradient(v) and not _is_constant(v)]
        layers += maker.op_type in _WEIGHTED
        if len(operands) != 1 or layers > 1:
            return False
        value = operands[0]
    return False


def _layers_between(start: ir.Value, end: ir.Value, order: Mapping[ir.Node, int]) -> int:
    """The most learned layers on a way from ``start`` to ``end``; −1 where there is no way, or too much lies between."""
    origin = start.producer()
    first = -1 if origin is None else order.get(origin, -1)
    inside, todo = set[ir.Node](), [end]
    while todo and len(inside) <= LONGEST:
        maker = todo.pop().producer()
        if maker is not None and maker not in inside and order.get(maker, -1) > first:
            inside.add(maker)
            todo += [v for v in maker.inputs if v is not None and carries_gradient(v)]
    if todo:
        return -1
    most = {start: 0}
    for node in sorted(inside, key=lambda n: order[n]):
        ways = [most[v] for v in node.inputs if v in most]
        if ways:
            learned = node.op_type in _WEIGHTED and any(v is not None and _is_constant(v) for v in node.inputs)
            most |= dict.fromkeys(node.outputs, max(ways) + learned)
    return most.get(end, -1)
