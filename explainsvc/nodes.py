"""Per node of the file: what stands for it, which vjp and which rules treat it, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from explainsvc.autograd import known_operators
from explainsvc.autograd.survey import Outcome
from explainsvc.graph.cost import (
    Shape,
    assumed_lengths,
    at_lengths,
    bytes_of,
    infer_quietly,
    peak_bytes,
    results,
    static_shapes,
    weight_bytes,
)
from explainsvc.graph.flops import multiply_adds
from explainsvc.graph.lineage import StandIn, stand_ins
from explainsvc.graph.passes.quantised import quantised_operators
from explainsvc.graph.passes.zipmap import without_map_types
from explainsvc.info import Cost, NodeInfo, value_info

if TYPE_CHECKING:
    from explainsvc.model import Model

KNOWN, TWINS = known_operators(), frozenset(quantised_operators())
ROUNDS = 2
"""Shapes computed from sizes of computed shapes: as deep as that goes in exported transformers."""
PER_MULTIPLY_ADD = 2
"""Floating-point operations."""


def operator_name(node: ir.Node) -> str:
    """``Conv``, ``com.microsoft::Attention``."""
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


@dataclass(frozen=True)
class Treatments:
    """Prepared node → its treatment, where one lies on the way: by the gradient, and by each method with rules of its own."""

    gradient: Mapping[ir.Node, Outcome]
    rules: Mapping[str, Mapping[ir.Node, Outcome]]


def _vjp(node: ir.Node, stand_in: StandIn, outcomes: Mapping[ir.Node, Outcome]) -> str:
    """See :class:`NodeInfo`."""
    refusals = [outcomes[n].refusal for n in stand_in.nodes if n in outcomes]
    why = next((refusal.what for refusal in refusals if refusal is not None), stand_in.absence)
    if why:
        return f"none: {why}"
    if node.op_type in TWINS and not stand_in.fused:
        return "by its real twin"
    if is_body(node, stand_in):
        return "expanded into its body"
    kinds = [KNOWN.get(operator_name(n), "") for n in stand_in.nodes]
    return next((k for k in ("control", "vjp", "stop") if k in kinds), f"none: the table of vjps has no {operator_name(node)}")


def _rule(stand_in: StandIn, outcomes: Mapping[ir.Node, Outcome]) -> str:
    """See :class:`NodeInfo`."""
    found = [outcomes[n] for n in stand_in.nodes if n in outcomes]
    refusals = [outcome.refusal.what for outcome in found if outcome.refusal is not None]
    return f"refused: {refusals[0]}" if refusals else " + ".join(dict.fromkeys(outcome.treatment for outcome in found))


def nodes_and_cost(model: Model, treatments: Treatments, texts: Mapping[str, str]) -> tuple[tuple[NodeInfo, ...], Cost]:
    """The nodes of the file and what one forward costs; ``texts``: method → its cost in words."""
    source, prepared = ir.from_proto(without_map_types(model.proto)), model.prepared
    infer_quietly(source)
    declared = {tensor.name: tensor.shape for tensor in model.inputs}
    lengths = assumed_lengths(declared, prepared.probe)
    shapes = static_shapes(at_lengths(source, declared, lengths))
    stand_in = stand_ins(list(source.graph), prepared.model.graph)
    if any(is_body(node, one) for node, one in stand_in.items()) or any(v.name not in shapes for v in results(source.graph)):
        shapes = static_shapes(at_lengths(prepared.model, declared, lengths, ROUNDS)) | shapes
    nodes = tuple(_node(node, one, treatments, shapes) for node, one in stand_in.items())
    return nodes, _cost(source.graph, nodes, lengths, shapes, texts)


def _node(node: ir.Node, stand_in: StandIn, treatments: Treatments, shapes: Mapping[str, Shape]) -> NodeInfo:
    return NodeInfo(
        name=node.name or "",
        operator=operator_name(node),
        outputs=tuple(value_info(v) for v in node.outputs if v.name),
        becomes=tuple(map(operator_name, stand_in.nodes)),
        vjp=_vjp(node, stand_in, treatments.gradient),
        rules={method: _rule(stand_in, outcomes) for method, outcomes in treatments.rules.items()},
        flops=_flops(node, stand_in, shapes),
    )


def _cost(
    graph: ir.Graph, nodes: Sequence[NodeInfo], lengths: Mapping[str, int], shapes: Mapping[str, Shape], texts: Mapping[str, str]
) -> Cost:
    values = results(graph)
    return Cost(
        assumed=dict(lengths),
        flops=sum(node.flops or 0 for node in nodes),
        uncounted=tuple(node.name or node.outputs[0].name for node in nodes if node.flops is None),
        weight_bytes=weight_bytes(graph),
        activation_bytes=sum(bytes_of(v, shapes) for v in values),
        peak_bytes=peak_bytes(graph, shapes),
        unsized=sum(v.name not in shapes for v in values),
        methods=dict(texts),
    )


def _flops(node: ir.Node, stand_in: StandIn, shapes: Mapping[str, Shape]) -> int | None:
    """By the operator's own formula, else by what stands for it."""

    def shape_of(value: ir.Value) -> Shape | None:
        return shapes.get(value.name or "")

    own = multiply_adds(node, shape_of)
    if is_body(node, stand_in) or (own is None and stand_in.nodes and not stand_in.fused):
        inside = [multiply_adds(n, shape_of) for n in stand_in.nodes]
        own = None if None in inside else sum(n for n in inside if n is not None)
    return None if own is None else PER_MULTIPLY_ADD * own


def is_body(node: ir.Node, stand_in: StandIn) -> bool:
    """Whether what stands for a node is the body of a function, and not one operator in another's place."""
    return not stand_in.fused and len(stand_in.nodes) > 1 and operator_name(node) not in KNOWN
