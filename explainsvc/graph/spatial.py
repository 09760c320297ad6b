"""Where a graph has activations with positions, and which of them activation maps are drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from explainsvc.autograd.shapes import shape_of
from explainsvc.autograd.view import NodeView
from explainsvc.graph.following import CHANNELS, CONVOLVES, ITEMS, LOST, MOVES, ONE, PART, Labels, Tokens, followed
from explainsvc.graph.roles import role

_NORMALISES = frozenset(
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization "
    "GroupNormalization InstanceNormalization BatchNormalization".split()
)
_ATTENDS = frozenset("Attention MultiHeadAttention GroupQueryAttention PackedAttention PackedMultiHeadAttention".split())


def positions(labels: Labels) -> tuple[int, ...]:
    """The input's axes that a value's positions run along, in the value's order."""
    runs = [label.along if isinstance(label, Tokens) else (label,) for label in labels if isinstance(label, (int, Tokens))]
    return tuple(axis for run in runs for axis in run)


def spatial_values(path: Sequence[NodeView], start: ir.Value) -> dict[ir.Value, Labels]:
    """Values with channels and more than one position that can be laid over the input ``start``, in the order of the path."""
    return {v: labels for v, labels in followed(path, start).items() if v.name and _is_spatial(v, labels)}


def input_positions(path: Sequence[NodeView], start: ir.Value) -> tuple[int, ...]:
    """The input's axes, axis 0 counted, that the first convolution takes for positions, ascending; () without one."""
    known = followed(path, start)
    first = next((known[n.y.value] for n in path if n.op_type in CONVOLVES and n.y.value in known), ())
    return tuple(sorted(positions(first)))


def _is_spatial(value: ir.Value, labels: Labels) -> bool:
    shape = shape_of(value)
    if shape is None or len(shape) != len(labels) or labels.count(CHANNELS) != 1 or LOST in labels or PART in labels:
        return False
    if labels.count(ITEMS) + labels.count(ONE) != 1 or any(
        label is None and d != 1 for label, d in zip(labels, shape, strict=True)
    ):
        return False
    flat = [label for label in labels if isinstance(label, Tokens)]
    spread = [d for label, d in zip(labels, shape, strict=True) if isinstance(label, (int, Tokens)) and d != 1]
    both = any(t.before and t.after for t in flat)
    return bool(spread) and not both and (not flat or (len(flat) == 1 and sum(isinstance(label, int) for label in labels) == 0))


def default_layer(path: Sequence[NodeView], start: ir.Value, target: ir.Value) -> ir.Value | None:
    """The value that activation maps are drawn from where the user names none; None where there is no clear choice.

    The last one with positions: before global pooling or flattening. A transformer over patches reads its class token at the
    end, on which the last patches have no influence: there it is what the last attention reads, the normalised input of its
    block (``norm1``). The choice is not clear where the model works on over axes that cannot be followed.
    """
    known = spatial_values(path, start)
    spots = {v: labels for v, labels in known.items() if v is not target}
    if not spots:
        return None
    last = list(spots)[-1]
    attentions = [n for n in path if _attends(n)]
    if attentions and any(isinstance(label, Tokens) for label in spots[last]):
        return _before_attention(path, attentions, spots)
    if _goes_on(path, last, known):
        return None
    producer = last.producer()
    while producer is not None and producer.op_type in MOVES and producer.inputs[0] in spots:
        last = producer.inputs[0]
        producer = last.producer()
    return last


def _attends(n: NodeView) -> bool:
    return role(n.node) == "attention.softmax" or n.op_type in _ATTENDS


def _goes_on(path: Sequence[NodeView], last: ir.Value, known: dict[ir.Value, Labels]) -> bool:
    """Whether positions are still worked on after the last value whose axes can be followed."""
    reached = {last}
    for n in path:
        if any(v in reached for v in n.node.inputs):
            reached.update(n.node.outputs)
            if _attends(n) or (n.op_type in CONVOLVES and n.y.value not in known and any(d != 1 for d in (n.y.shape or ())[2:])):
                return True
    return False


def _before_attention(path: Sequence[NodeView], attentions: Sequence[NodeView], spots: dict[ir.Value, Labels]) -> ir.Value | None:
    """The last normalisation of tokens that the last attention reads; in attention pooling, the convolutional value before."""
    needed = {v for v in attentions[-1].node.inputs if v is not None}
    for n in reversed(path):
        if any(v in needed for v in n.node.outputs):
            needed.update(v for v in n.node.inputs if v is not None)
    read = [v for v in spots if v in needed]
    flat = [v for v in read if any(isinstance(label, Tokens) for label in spots[v])]
    norms = [v for v in flat if (p := v.producer()) is not None and p.op_type in _NORMALISES]
    if norms:
        return norms[-1]
    pooled = [v for v in read if v not in flat]
    return pooled[-1] if len(attentions) == 1 and pooled else None
