"""The box l ≤ x ≤ h that an input comes from, and what it becomes on the way to the first layer with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd import NodeView, Term
from explainsvc.autograd.backward import carries_gradient
from explainsvc.autograd.emit import is_emitted
from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation

RISING = frozenset(
    "MaxPool GlobalMaxPool AveragePool GlobalAveragePool ReduceMax ReduceMin ReduceMean ReduceSum Max Min Sum Mean Add Relu Clip "
    "Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather Pad Identity Cast Dropout DepthToSpace SpaceToDepth "
    "Expand Tile".split()
)
"""Every result rises with every operand, so that bounds go through as values do."""
MONOTONE = frozenset({"Sub", "Mul", "Div", "Neg", "BatchNormalization"})
"""Every result rises or falls with the one operand that leads to the input, element by element."""


@dataclass(frozen=True, eq=False)
class Bound:
    """One end of the box: a number or array for all inputs, or one per input by name.

    An array broadcasts to the input (numpy's way), or holds one number per channel (axis 1, or the last axis).
    """

    name: str
    values: Mapping[str, Array]

    @classmethod
    def of(cls, name: str, value: Any) -> Bound | None:
        """As a parameter of kind "value" gives it; None for None.

        Raises:
            InvalidParameter: Not numbers.
        """
        if value is None:
            return None
        given = dict(value) if isinstance(value, Mapping) else {"": value}
        try:
            arrays = {str(key): np.asarray(number, dtype=np.float64) for key, number in given.items()}
        except (TypeError, ValueError):
            arrays = {}
        if not arrays or not all(np.all(np.isfinite(a)) for a in arrays.values()):
            raise _wrong(name, f"is {value!r}, expected a finite number, an array of them, or these by input name")
        return cls(name, arrays)

    def require_below(self, other: Bound) -> None:
        """Raises InvalidParameter where this bound exceeds the other one."""
        for key in self.values.keys() & other.values.keys():
            try:
                fine = bool(np.all(self.values[key] <= other.values[key]))
            except ValueError:
                continue  # one per channel against a whole array: see box_of
            if not fine:
                most, least = float(np.max(self.values[key])), float(np.min(other.values[key]))
                raise _wrong(self.name, f"is up to {most:g}, expected nowhere above {other.name}, which is from {least:g}")

    def at(self, x: Term) -> Term:
        """The bound of a graph input, in its shape."""
        value = self.values.get(x.value.name or "", self.values.get(""))
        if value is None:
            raise _wrong(self.name, f'names no bound of the input "{x.value.name}"')
        array = self._placed(value, x).astype((x.dtype or x.emit.float_type).numpy())
        return x.emit.expand_like(x.emit.constant(array), x)

    def _placed(self, value: Array, x: Term) -> Array:
        """With axes of its own for one number per channel; see the class."""
        shape = x.shape
        if shape is None or value.ndim == 0:
            return value
        if value.ndim == 1 and len(value) > 1 and len(shape) > 2:
            first, last = shape[1] == len(value), shape[-1] == len(value)
            if first and last:
                raise _wrong(self.name, f"of {len(value)} numbers fits two axes of {list(shape)}; give it all of its axes")
            if first:
                return value.reshape(-1, *[1] * (len(shape) - 2))
        sizes = zip(reversed(value.shape), reversed(shape), strict=False)
        if value.ndim > len(shape) or any(isinstance(d, int) and v not in (1, d) for v, d in sizes):
            raise _wrong(self.name, f"has shape {list(value.shape)}, which does not broadcast to {list(shape)}")
        return value


Box = tuple[Term, Term]
"""Least and greatest value, elementwise."""


def box_of(n: NodeView, i: int, low: Bound, high: Bound) -> Box:
    """The bounds of operand ``i``: those of the inputs, sent through the operators before it.

    Raises:
        MethodNotApplicable: An operator on the way is not known to be monotone.
        InvalidParameter: A bound does not fit its input.
    """
    before = _ancestors(n.input(i).value)
    boxes: dict[ir.Value, Box] = {}
    for value in before:
        if value.is_graph_input() and carries_gradient(value):
            x = n.emit.term(value)
            boxes[value] = low.at(x), high.at(x)
    for node in [m for m in n.emit.graph if not is_emitted(m) and any(v in before for v in m.outputs)]:
        if any(v in boxes for v in node.inputs) and all(carries_gradient(v) for v in node.outputs):
            boxes |= _through(NodeView(node, n.emit), boxes)
    if n.input(i).value not in boxes:
        raise _unbounded(n)
    return boxes[n.input(i).value]


def _ancestors(value: ir.Value) -> set[ir.Value]:
    """The value and all that it is computed from."""
    found, stack = set(), [value]
    while stack:
        if (current := stack.pop()) not in found:
            found.add(current)
            node = current.producer()
            stack += [] if node is None else [v for v in node.inputs if v is not None]
    return found


def _through(m: NodeView, boxes: Mapping[ir.Value, Box]) -> dict[ir.Value, Box]:
    """The boxes of a node's results."""
    bounded = {k: boxes[v] for k, v in enumerate(m.node.inputs) if v is not None and v in boxes}
    alone = m.op_type in MONOTONE and len(bounded) == 1 and not (m.op_type == "Div" and 1 in bounded)
    if m.node.domain not in ("", "ai.onnx") or not (m.op_type in RISING or alone):
        raise _unbounded(m)
    ends = [m.replace({k: box[end] for k, box in bounded.items()}).node.outputs for end in (0, 1)]
    pairs = [(m.emit.term(lower), m.emit.term(upper)) for lower, upper in zip(*ends, strict=True)]
    if alone:
        pairs = [(m.emit.op("Min", a, b), m.emit.op("Max", a, b)) for a, b in pairs]
    return dict(zip(m.node.outputs, pairs, strict=True))


def _unbounded(n: NodeView) -> MethodNotApplicable:
    return MethodNotApplicable(
        f"the bounds of the input cannot be followed through {n.op_type}", where=n.where(),
        expected="routing, pooling, sums and constant factors between the input and the first layer",
        to_do="Use w² or flat at the first layer instead: lrp_w_square, or lrp_flat in a rulebook",
    )  # fmt: skip


def _wrong(name: str, description: str) -> InvalidParameter:
    return InvalidParameter("the bounds of the input are not valid", violations=[Violation(f"parameters.{name}", description)])
