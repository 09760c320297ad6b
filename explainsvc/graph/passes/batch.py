"""A batch that the exporter froze at 1 becomes symbolic: what holds the number 1 for the batch is rewritten.

The graph is walked once with the axis that counts items known for every value: that of a result is where its length grows
with the operands'. Whether items then stay apart is not argued but tried: the pass is verified on several items at once
against each alone (``passes.__init__``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.shapes import Shape, shape_of
from explainsvc.graph.facts import Fact, inferred, of_array
from explainsvc.graph.passes.opset import WORKING_OPSET
from explainsvc.graph.passes.rewrite import Rewriter, constant_of
from explainsvc.graph.passes.shapes import infer_shapes

SYMBOL = "batch"
MANY = 251
"""A number of items that no length is a multiple of by chance: a prime."""


def open_batch(model: ir.Model) -> bool:
    """Makes axis 0 of all inputs and outputs symbolic where it is 1 for all of them; True when it was."""
    graph = model.graph
    if graph.opset_imports.get("", 0) < WORKING_OPSET or not _frozen_at_one(model):
        return False
    walk = _Walk(graph)
    for node in list(graph):
        walk.visit(node)
    for value in (*graph.inputs, *graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape([SYMBOL, *list(value.shape)[1:]])
    for node in graph.all_nodes():
        for value in node.outputs:
            value.shape = None
    infer_shapes(model)
    for value, axis in walk.axes.items():
        _name(value, axis, walk.lengths[value])
    return True


def _frozen_at_one(model: ir.Model) -> bool:
    infer_shapes(model)
    ends = [shape_of(v) for v in (*model.graph.inputs, *model.graph.outputs)]
    return bool(model.graph.inputs) and all(s is not None and len(s) > 1 and s[0] == 1 for s in ends)


def _name(value: ir.Value, axis: int, length: int) -> None:
    """The symbol where inference has lost it behind a Reshape: rules then see which axes agree."""
    if length == 1 and value.shape is not None and axis < len(value.shape) and not isinstance(value.shape[axis], int):
        value.shape = ir.Shape([SYMBOL if k == axis else d for k, d in enumerate(value.shape)])


class _Walk:
    """The axis of every value that counts items, and its length when there is one item."""

    def __init__(self, graph: ir.Graph) -> None:
        self.write = Rewriter(graph)
        self.versions = dict(graph.opset_imports)
        self.axes: dict[ir.Value, int] = dict.fromkeys(graph.inputs, 0)
        self.lengths: dict[ir.Value, int] = dict.fromkeys(graph.inputs, 1)
        self.inner: set[ir.Value] = set()

    def visit(self, node: ir.Node) -> None:
        """Rewrites what the node says about the batch, then tells the axes of its results."""
        carried = [v for v in node.inputs if v in self.axes]
        if not carried:
            return
        if node.domain == "" and node.op_type in _ADAPTED:
            _ADAPTED[node.op_type](node, self)
        if node.op_type == "Reshape" and node.outputs[0] in self.axes:
            return
        for value, dims in zip(node.outputs, self._grown(node), strict=True):
            before = shape_of(value)
            if before is None or dims is None or len(dims) != len(before):
                continue
            found = [(k, one) for k, (one, many) in enumerate(zip(before, dims, strict=True)) if one != many]
            match found:
                case [(int(axis), int(length))]:
                    self.set(value, axis, length, inner=length > 1 and any(v in self.inner for v in carried))

    def set(self, value: ir.Value, axis: int, length: int, inner: bool = False) -> None:
        """Remembers the axis of a value; ``inner``: there the items count faster than what else the axis counts."""
        self.axes[value], self.lengths[value] = axis, length
        if inner:
            self.inner.add(value)

    def _grown(self, node: ir.Node) -> list[list[int | None] | None]:
        """The lengths of the results with MANY items, by onnx's inference of this one node."""
        proto = onnx.NodeProto()
        proto.CopyFrom(ir.to_proto(node))
        facts = {v.name or "": self._fact(v) for v in node.inputs if v is not None}
        return [fact.dims for fact in inferred(proto, facts, self.versions)]

    @staticmethod
    def shape(value: ir.Value) -> Shape | None:
        """Inferred shapes of constants may say less than the constants."""
        array = constant_of(value)
        return shape_of(value) if array is None else array.shape

    def _fact(self, value: ir.Value) -> Fact:
        array = constant_of(value)
        if array is not None and array.dtype.kind in "iub":
            return of_array(array)
        shape = self.shape(value)
        if shape is None or value.dtype is None:
            return Fact()
        grown = [d * MANY if k == self.axes.get(value) and isinstance(d, int) else d for k, d in enumerate(shape)]
        return Fact(onnx.helper.make_tensor_type_proto(int(value.dtype), grown))


# What says how many items there are -----------------------------------------------------------------------------------


def _reshape(node: ir.Node, walk: _Walk) -> None:
    """The target's length of the batch becomes 0 (as it was) or −1 (whatever is left).

    In row-major order the batch is the outermost part of the target axis before which as many elements lie as before its
    own axis; or, where that would be the last one, the innermost part of the axis before.
    """
    x, target = node.inputs[:2]
    dims, before, after = constant_of(target), None if x is None else shape_of(x), shape_of(node.outputs[0])
    if x is None or x not in walk.axes or dims is None or before is None or after is None or len(after) != len(dims):
        return
    axis = walk.axes[x]
    outer = _product(before[: axis + 1 if x in walk.inner else axis])
    likely = sorted(range(len(after)), key=lambda k: k != axis)  # lengths of 1 leave a choice: the same axis first
    place = next((k for k in likely if outer is not None and _product(after[:k]) == outer), None)
    length = None if place is None else after[place]
    if place is None or not isinstance(length, int):
        return
    inner = place == len(after) - 1 > 0 and length > 1  # features stay as many: items join the axis before
    place -= inner
    rewritten = _open(dims.tolist(), after, place, copies=place == axis and before[axis] == after[place])
    if rewritten is not None and (0 not in dims or not node.attributes.get_int("allowzero", 0)):
        node.attributes.pop("allowzero", None)
        node.replace_input_with(1, walk.write.constant(np.array(rewritten, np.int64), f"{node.outputs[0].name}_shape"))
        walk.set(node.outputs[0], place, prod(d for d in after[place : place + 1] if isinstance(d, int)), inner)


def _open(dims: list[int], after: Sequence[object], place: int, copies: bool) -> list[int] | None:
    """The target with an open length at ``place``; None where another length is already open and unknown."""
    if copies:
        return [0 if k == place else d for k, d in enumerate(dims)]
    known = [d if d > 0 or k == place else after[k] for k, d in enumerate(dims)]
    if not all(isinstance(d, int) for d in known):
        return None
    return [-1 if k == place else d for k, d in enumerate(known) if isinstance(d, int)]


def _product(lengths: Sequence[object]) -> int | None:
    known = [d for d in lengths if isinstance(d, int)]
    return prod(known) if len(known) == len(lengths) else None


def _concat(node: ir.Node, walk: _Walk) -> None:
    """Constants that are joined to every item (class tokens) are repeated for each."""
    reference = next(v for v in node.inputs if v in walk.axes)
    assert reference is not None
    axis = walk.axes[reference]
    rank = 0 if reference.shape is None else len(reference.shape)
    if node.attributes["axis"].as_int() % max(rank, 1) == axis:
        return
    for index, value in enumerate(node.inputs):
        if value is not None and value not in walk.axes:
            _repeat(node, index, axis, reference, walk)


def _repeat(node: ir.Node, index: int, axis: int, reference: ir.Value, walk: _Walk) -> None:
    """Operand ``index``, of length 1 along ``axis``, is expanded to as many items as ``reference`` has along its own."""
    value = node.inputs[index]
    shape = None if value is None else walk.shape(value)
    if value is None or shape is None or axis >= len(shape) or shape[axis] != 1 or walk.lengths[reference] != 1:
        return
    own = walk.axes[reference]
    stem = f"{node.outputs[0].name}_{index}"
    count = walk.write.before(
        node, "Shape", [reference], {"start": own, "end": own + 1}, ir.DataType.INT64, value=f"{stem}_items"
    )
    ones = [walk.write.constant(np.ones(n, np.int64), f"{stem}_ones") for n in (axis, len(shape) - axis - 1)]
    dims = walk.write.before(node, "Concat", [ones[0], count, ones[1]], {"axis": 0}, ir.DataType.INT64, value=f"{stem}_dims")
    repeated = walk.write.before(node, "Expand", [value, dims], None, value.dtype, value=f"{stem}_repeated")
    repeated.shape = ir.Shape(shape)
    walk.set(repeated, axis, 1)
    node.replace_input_with(index, repeated)


def _recurrent(node: ir.Node, walk: _Walk) -> None:
    """Constant initial states are repeated for each item."""
    x = node.inputs[0]
    if x is None or x not in walk.axes:
        return
    items_first = node.attributes.get_int("layout", 0)
    for index, axis in ((4, 0), (5, 0 if items_first else 1), (6, 0 if items_first else 1)):
        if index < len(node.inputs) and node.inputs[index] is not None and node.inputs[index] not in walk.axes:
            _repeat(node, index, axis, x, walk)


def _resize(node: ir.Node, walk: _Walk) -> None:
    """Sizes of all axes become sizes of all others."""
    x, sizes = node.inputs[0], constant_of(node.inputs[3]) if len(node.inputs) > 3 else None
    if x is None or x not in walk.axes or sizes is None or "axes" in node.attributes:
        return
    others = [k for k in range(len(sizes)) if k != walk.axes[x]]
    node.attributes["axes"] = ir.AttrInt64s("axes", others)
    node.replace_input_with(3, walk.write.constant(sizes[others], f"{node.outputs[0].name}_sizes"))


_ADAPTED: dict[str, Callable[[ir.Node, _Walk], None]] = {
    "Reshape": _reshape,
    "Concat": _concat,
    "Resize": _resize,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
