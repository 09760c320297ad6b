"""LRP presets: which rule at which node. A preset is a value: an ordered table, the first matching row wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Rulebook
from explainsvc.rules.lrp import (
    ACTIVATION,
    CONVOLUTION,
    DENSE,
    ROUTING,
    SHARING,
    lrp_epsilon,
    lrp_flat,
    lrp_z_plus,
    pass_through,
    refuse,
    route,
    share,
)  # fmt: skip

LINEAR = CONVOLUTION | DENSE


@dataclass(frozen=True)
class Row:
    """``rule`` at nodes of these ``operators``; ``first_only``: only at layers that no other linear layer precedes."""

    operators: frozenset[str]
    rule: Rule
    first_only: bool = False


def lrp_rulebook(rows: Sequence[Row], path: Iterable[NodeView], bias: bool) -> Rulebook:
    """The rows of a preset, then what all of them share: sums by shares, activations and routing passed, the rest refused."""
    common = [Row(SHARING, share(bias)), Row(ACTIVATION, pass_through), Row(ROUTING, route)]
    first = first_layers(path)

    def rulebook(n: NodeView) -> Rule:
        for row in (*rows, *common):
            if n.node.domain in ("", "ai.onnx") and n.op_type in row.operators and (not row.first_only or n.node in first):
                return row.rule
        return refuse

    return rulebook


def first_layers(path: Iterable[NodeView]) -> set[ir.Node]:
    """Linear layers of ``path`` (topological order) that no other linear layer of it precedes."""
    behind: set[ir.Value] = set()
    first = set()
    for n in path:
        late = any(v in behind for v in n.node.inputs if v is not None)
        linear = n.op_type in LINEAR
        if linear and not late:
            first.add(n.node)
        if linear or late:
            behind.update(n.node.outputs)
    return first


def epsilon(epsilon: float, bias: bool) -> list[Row]:
    """ε everywhere."""
    return [Row(LINEAR, lrp_epsilon(epsilon, bias))]


def z_plus(bias: bool) -> list[Row]:
    """z⁺ everywhere."""
    return [Row(LINEAR, lrp_z_plus(bias))]


def epsilon_plus(epsilon: float, bias: bool) -> list[Row]:
    """z⁺ at convolutions, ε at dense layers (zennit's EpsilonPlus; Kohlbrenner et al. 2020, arXiv:1910.09840)."""
    return [Row(CONVOLUTION, lrp_z_plus(bias)), Row(DENSE, lrp_epsilon(epsilon, bias))]


def epsilon_plus_flat(epsilon: float, bias: bool) -> list[Row]:
    """:func:`epsilon_plus` with flat relevance at the first layer (zennit's EpsilonPlusFlat)."""
    return [Row(LINEAR, lrp_flat, first_only=True), *epsilon_plus(epsilon, bias)]
