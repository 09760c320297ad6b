"""Which nodes of the prepared graph stand for a node of the source: passes fuse, expand, fold and rename.

Passes keep the names of values that live on, and derive new names from old ones. A prepared node belongs to the source
node whose result it makes; a node that makes no such result belongs to whom its result goes. A source node whose results
are gone was fused into the next one downstream that is still there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from explainsvc.autograd.backward import operands

PASSING = frozenset({"Identity", "Dropout", "Cast", "DequantizeLinear"})
"""Left out by the passes where they hand on what they get: outside training, from a type to itself, from a real twin."""
_NUMBERS = frozenset({ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL})
"""Of sizes and indices; smaller integers are quantised values."""
FOLDED, LEFT_OUT, UNREAD = "a constant, folded", "hands on its input, left out", "nothing reads its result"


@dataclass(frozen=True)
class StandIn:
    """What stands for one source node.

    Attributes:
        nodes: Of the prepared graph, in its order.
        fused: Whether they stand for a later node of the source in the first place.
        absence: Why there are none, in words.
    """

    nodes: tuple[ir.Node, ...] = ()
    fused: bool = False
    absence: str = ""


def stand_ins(source: Sequence[ir.Node], prepared: ir.Graph) -> dict[ir.Node, StandIn]:
    """Source node → what stands for it."""
    makers: dict[str | None, ir.Node] = {v.name: node for node in source for v in node.outputs if v.name}
    groups: dict[ir.Node, list[ir.Node]] = {}
    owners: dict[ir.Node, ir.Node] = {}
    for node in reversed(list(prepared)):
        owner = _maker(node, makers) or next((owners[user] for user in _users(node) if user in owners), None)
        if owner is not None:
            owners[node] = owner
            groups.setdefault(owner, []).append(node)
    fixed = _constants(source, prepared)
    made = {v.name: node for node in prepared for v in node.outputs}
    found: dict[ir.Node, StandIn] = {}
    for node in reversed(source):
        found[node] = StandIn(tuple(reversed(groups[node]))) if node in groups else _of_a_vanished(node, found, fixed, made)
    return {node: found[node] for node in source}


def _maker(node: ir.Node, makers: Mapping[str | None, ir.Node]) -> ir.Node | None:
    """The source node that makes a result of this one, under its own name or one derived from it: ``<name>_<operator>``."""
    for value in node.outputs:
        name = value.name or ""
        for known in (name, re.sub(rf"_({node.op_type}|real)(_\d+)?$", "", name)):
            if known in makers:
                return makers[known]
    return None


def _users(node: ir.Node) -> Iterable[ir.Node]:
    return (user for value in node.outputs for user, _ in value.uses())


def _constants(source: Sequence[ir.Node], prepared: ir.Graph) -> set[ir.Node]:
    """Source nodes whose results hang on no input, or are constants of the prepared graph."""
    fixed: set[ir.Node] = set()
    for node in source:
        makers = [v.producer() for v in operands(node) if not v.is_initializer()]
        if all(m in fixed for m in makers) or all(v.name in prepared.initializers for v in node.outputs):
            fixed.add(node)
    return fixed


def _of_a_vanished(
    node: ir.Node, found: Mapping[ir.Node, StandIn], fixed: set[ir.Node], made: Mapping[str | None, ir.Node]
) -> StandIn:
    """Its result may be made by the stand-in of the node before it."""
    for value in node.outputs:
        if value.name in made:
            return StandIn((made[value.name],), fused=True)
    if node in fixed or all(v.dtype in _NUMBERS for v in node.outputs):
        return StandIn(absence=FOLDED)
    if node.op_type in PASSING:
        return StandIn(absence=LEFT_OUT)
    into = next((found[user] for user in _users(node) if user in found and found[user].nodes), None)
    return StandIn(absence=UNREAD) if into is None else replace(into, fused=True)
