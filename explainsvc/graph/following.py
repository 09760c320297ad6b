"""How the axes of a graph's values lie over an input's.

An input's axes are followed forward: a convolution makes one of them channels, Transposes and Reshapes move and merge them,
pointwise operators keep them. What cannot be followed has no labels, and no map is drawn from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from explainsvc.autograd.shapes import Dim, Shape, shape_of
from explainsvc.autograd.view import NodeView

ITEMS, ONE, CHANNELS, PART, LOST = "items", "one item", "channels", "part of the channels", "lost"


@dataclass(frozen=True)
class Tokens:
    """Positions of several axes, flattened into one: the patches of a vision transformer.

    The same positions are equal whichever value they were flattened from last.

    Attributes:
        grid: The value whose axes were merged.
        axes: Those axes of it.
        along: The input's axes that they run along.
        before: Whether tokens that are no positions (a class token) come before them.
        after: The same, after them.
    """

    grid: ir.Value = field(compare=False)
    axes: tuple[int, ...] = field(compare=False)
    along: tuple[int, ...]
    before: bool = False
    after: bool = False


Label = int | str | Tokens | None
"""What an axis is: the input's axis that it runs along; ITEMS, or ONE for an added batch axis; CHANNELS, or PART of them where
they are split over several axes; Tokens; None for an added axis of length 1; LOST."""
Labels = tuple[Label, ...]

_KEEPS = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid Tanh HardSwish Swish Softplus Softsign Gelu Mish Clip Erf "
    "ThresholdedRelu Shrink Add Sub Mul Div Pow Sum Mean Max Min Neg Abs Sign Sqrt Exp Log Reciprocal Round Floor Ceil Sin Cos "
    "Where BatchNormalization LRN InstanceNormalization GroupNormalization LayerNormalization "
    "RMSNormalization LpNormalization SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization "
    "BiasGelu FastGelu QuickGelu Dropout Identity Cast "
    "QuantizeLinear DequantizeLinear Expand".split()
)
_RESIZES = frozenset("MaxPool AveragePool LpPool Pad Resize Upsample DepthToSpace SpaceToDepth".split())
MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze"})
CONVOLVES = frozenset({"Conv", "ConvTranspose"})
_REARRANGES = _KEEPS | _RESIZES | MOVES | {"Concat", "Slice", "Gather", "Split"}
_FAR = 2**31 - 1
"""Exporters write an end at or beyond this for "to the end"."""


def followed(path: Sequence[NodeView], start: ir.Value) -> dict[ir.Value, Labels]:
    """The labels of every value whose axes can be followed from an input, in the order of the path.

    Where elements were only rearranged in a way that cannot be followed (group normalisation, a shuffle of channels), the next
    convolution is taken to see its axes as the one before did.
    """
    shape = shape_of(start)
    if shape is None:
        return {}
    found: dict[ir.Value, Labels] = {start: tuple(range(len(shape)))}
    rearranged: set[ir.Value] = set()
    convolved: dict[int, Labels] = {}
    for n in path:
        known = [None if v is None else found.get(v) for v in n.node.inputs]
        rule = _RULES.get(n.op_type) if any(k is not None for k in known) else None
        labels = None if rule is None else rule(n, known)
        if n.op_type in CONVOLVES and n.x.value in rearranged:
            labels = convolved.get(n.x.rank or 0)
        if labels is not None:
            found.update(dict.fromkeys(n.node.outputs, labels))
            convolved |= {len(labels): labels} if n.op_type in CONVOLVES else {}
        elif n.op_type in _REARRANGES and any(v in found or v in rearranged for v in n.node.inputs):
            rearranged.update(n.node.outputs)
    return found


# How every operator moves axes ----------------------------------------------------------------------------------------

Known = Sequence[Labels | None]
Rule = Callable[[NodeView, Known], Labels | None]


def _keeps(n: NodeView, known: Known) -> Labels | None:
    """Of the operands that have the result's rank; smaller ones are broadcast over it."""
    whole = [labels for labels in known if labels is not None and n.y.rank in (None, len(labels))]
    if not whole or len({len(labels) for labels in whole}) > 1:
        return None
    return tuple(_agreed(column) for column in zip(*whole, strict=True))


def _agreed(column: Sequence[Label]) -> Label:
    """Of a residual sum: what is lost on one branch is known from the other."""
    told = list(dict.fromkeys(label for label in column if label is not None and label != LOST))
    return told[0] if len(told) == 1 else None if set(column) == {None} else LOST


def _resizes(n: NodeView, known: Known) -> Labels | None:
    """Fewer or more positions still span the input; a row of tokens is no longer its grid."""
    labels = _keeps(n, known)
    return None if labels is None else tuple(LOST if isinstance(label, Tokens) else label for label in labels)


def _conv(n: NodeView, known: Known) -> Labels | None:
    """Axis 1 becomes channels, whatever it was; tokens pass a convolution of one position only."""
    labels = known[0]
    if labels is None or labels[0] not in (0, None, ITEMS, ONE):
        return None
    kernel = n.input(1).shape
    if any(isinstance(label, Tokens) for label in labels[2:]) and (kernel is None or any(d != 1 for d in kernel[2:])):
        return None
    return (ITEMS if labels[0] in (0, ITEMS) else ONE, CHANNELS, *labels[2:])


def _transpose(n: NodeView, known: Known) -> Labels | None:
    labels = known[0]
    return None if labels is None else tuple(labels[axis] for axis in n.attr("perm") or range(len(labels))[::-1])


def _unsqueeze(n: NodeView, known: Known) -> Labels | None:
    labels, axes = known[0], n.const(1)
    if labels is None or axes is None:
        return None
    rank = len(labels) + axes.size
    added, rest = {int(a) % rank for a in axes.reshape(-1)}, iter(labels)
    return tuple(None if axis in added else next(rest) for axis in range(rank))


def _squeeze(n: NodeView, known: Known) -> Labels | None:
    labels, axes = known[0], n.const(1)
    if labels is None or axes is None:
        return None
    gone = {int(a) % len(labels) for a in axes.reshape(-1)}
    return tuple(label for axis, label in enumerate(labels) if axis not in gone)


def _reshape(n: NodeView, known: Known) -> Labels | None:
    """Axes of length 1 come and go; neighbouring positions are merged into tokens, or tokens opened again."""
    labels, before, after = known[0], n.x.shape, n.y.shape
    if labels is None or not before or not after:
        return None
    lead = before[0] == after[0] or not (isinstance(before[0], int) or isinstance(after[0], int))
    have = [(d, axis) for axis, d in enumerate(before) if d != 1 or (axis == 0 and lead)]
    want = [axis for axis, d in enumerate(after) if d != 1 or (axis == 0 and lead)]
    placed: dict[int, Label] = {}
    if lead:
        placed[want.pop(0)] = labels[have.pop(0)[1]]
    for end in (0, -1):
        while have and want and have[end][0] is not None and have[end][0] == after[want[end]]:
            placed[want.pop(end)] = labels[have.pop(end)[1]]
    if have or want:
        middle = _merged(n, [axis for _, axis in have], labels, [after[a] for a in want])
        if middle is None:
            return None
        placed |= dict(zip(want, middle, strict=True))
    return tuple(placed.get(axis) for axis in range(len(after)))


def _merged(n: NodeView, axes: list[int], labels: Labels, want: list[Dim]) -> Labels | None:
    """The axes in the middle of a Reshape: several positions become one axis of tokens, or one such axis several; so channels."""
    if axes and want and all(labels[a] in (CHANNELS, PART) for a in axes):
        return (CHANNELS,) if len(want) == 1 else (PART,) * len(want)
    runs = tuple(label for a in axes if isinstance(label := labels[a], int))
    if len(axes) > 1 and len(want) == 1 and len(runs) == len(axes):
        return (Tokens(n.x.value, tuple(axes), runs),)
    tokens = labels[axes[0]] if len(axes) == 1 else None
    if isinstance(tokens, Tokens) and not (tokens.before or tokens.after) and len(want) == len(tokens.along):
        grid: Shape = shape_of(tokens.grid) or ()
        return tokens.along if [grid[a] for a in tokens.axes] == want else None
    return None


def _concat(n: NodeView, known: Known) -> Labels | None:
    """Channels beside channels; a class token beside patches. Pictures side by side are lost."""
    labels = _keeps(n, known)
    if labels is None:
        return None
    axis = int(n.attr("axis")) % len(labels)
    at = [None if k is None else k[axis] for k in known]
    flat = [i for i, label in enumerate(at) if isinstance(label, Tokens)]
    joined: Label = LOST
    if len(flat) == 1 and isinstance(tokens := at[flat[0]], Tokens):
        joined = replace(tokens, before=tokens.before or flat[0] > 0, after=tokens.after or flat[0] < len(at) - 1)
    elif labels[axis] in (CHANNELS, None):
        joined = CHANNELS if labels[axis] == CHANNELS else LOST
    return (*labels[:axis], joined, *labels[axis + 1 :])


def _slice(n: NodeView, known: Known) -> Labels | None:
    """Every step-th position, from the first ones to the end, still spans the input; leading tokens may be cut off."""
    labels, starts, ends, axes, steps = known[0], n.const(1), n.const(2), n.const(3), n.const(4)
    if labels is None or starts is None or ends is None or (n.has(3) and axes is None) or (n.has(4) and steps is None):
        return None
    cut = list(labels)
    for k, (start, end) in enumerate(zip(starts.reshape(-1), ends.reshape(-1), strict=True)):
        axis = (k if axes is None else int(axes[k])) % len(labels)
        step, old = 1 if steps is None else int(steps[k]), labels[axis]
        length = (n.x.shape or (None,) * len(labels))[axis]
        to_end = end >= _FAR or (isinstance(length, int) and end >= length)
        spans = to_end and (0 <= start < step or (isinstance(old, Tokens) and old.before and start >= 0 and step == 1))
        kept = old == CHANNELS or (spans and (step == 1 or not isinstance(old, Tokens)))
        cut[axis] = old if kept else LOST
    return tuple(cut)


def _gather(n: NodeView, known: Known) -> Labels | None:
    labels, rank = known[0], n.input(1).rank
    if labels is None or rank not in (0, 1):
        return None
    axis = int(n.attr("axis", 0)) % len(labels)
    chosen = () if rank == 0 else (CHANNELS,) if labels[axis] == CHANNELS else (LOST,)
    return (*labels[:axis], *chosen, *labels[axis + 1 :])


def _split(n: NodeView, known: Known) -> Labels | None:
    labels = known[0]
    if labels is None:
        return None
    axis = int(n.attr("axis", 0)) % len(labels)
    return tuple(label if i != axis or label == CHANNELS else LOST for i, label in enumerate(labels))


def _matmul(n: NodeView, known: Known) -> Labels | None:
    """A dense layer over the last axis."""
    labels = known[0]
    if labels is None or known[1] is not None or n.input(1).rank != 2:
        return None
    return (*labels[:-1], CHANNELS if labels[-1] == CHANNELS else LOST)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_KEEPS, _keeps),
    **dict.fromkeys(_RESIZES, _resizes),
    "Conv": _conv, "ConvTranspose": _conv, "Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Reshape": _reshape, "Concat": _concat, "Slice": _slice, "Gather": _gather, "Split": _split, "MatMul": _matmul,
}  # fmt: skip
