"""The quantised operators, each by its real twin; layers are in ``quantised_layers`` and ``quantised_blocks``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.quantised_blocks import BLOCKS
from explainsvc.graph.passes.quantised_layers import LAYERS, Rule
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.twins import NotConstantError, Twin, Walk, along, unquantised

_PASSING = frozenset(
    "Reshape Flatten Transpose Squeeze Unsqueeze Identity Slice Split Gather GatherElements GatherND Expand Tile MaxPool "
    "DepthToSpace SpaceToDepth Resize Pad Concat Max Min ReduceMax ReduceMin".split()
)
"""Operators that only move or choose elements: they mean the same on the twin."""
_READING = _PASSING | {"MatMulInteger", "ConvInteger", "DequantizeLinear", "MatMulIntegerToFloat", "QAttention"}


def rule_for(node: ir.Node, walk: Walk) -> Rule | None:
    """How a node is rewritten on twins, if it is."""
    if node.op_type in _PASSING and node.domain == "":
        return _passing if any(v in walk.twins for v in node.inputs) else None
    return _RULES.get(node.op_type)


def _passing(node: ir.Node, walk: Walk) -> None:
    """The same operator on the twins, which must all count alike."""
    twins = [walk.twins.get(v) if v is not None else None for v in node.inputs]
    first = next(t for t in twins if t is not None)
    several = node.op_type in ("Concat", "Max", "Min")
    if first.scale.size > 1 or (several and not all(t is not None and t.counts_like(first.scale, first.zero) for t in twins)):
        raise NotConstantError
    inputs = [v if t is None else t.value for v, t in zip(node.inputs, twins, strict=True)]
    if node.op_type == "Pad":
        inputs = [*inputs[:2], _padding(node, walk, first), *inputs[3:]]
    outputs = [ir.Value(name=walk.write.fresh(f"{v.name}_real")) for v in node.outputs]
    new = ir.node(node.op_type, inputs, dict(node.attributes.items()), outputs=outputs, name=f"{node.name}_real")
    assert node.graph is not None
    node.graph.insert_before(node, new)
    for old, value in zip(node.outputs, outputs, strict=True):
        walk.twins[old] = Twin(value, first.scale, first.zero)


def _padding(node: ir.Node, walk: Walk, twin: Twin) -> ir.Value:
    """The number that a Pad of integers fills in, in real numbers."""
    given = constant_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros((), np.int8)
    if given is None:
        raise NotConstantError
    return walk.write.constant(((given.astype(twin.scale.dtype) - twin.zero) * twin.scale).reshape(()), "padding")


def _quantize(node: ir.Node, walk: Walk) -> None:
    assert node.inputs[0] is not None
    if node.attributes.get_int("block_size", 0) or node.attributes.get_int("output_dtype", 0):
        raise NotConstantError
    walk.quantised(node, node.inputs[0], 1, 2, node.attributes.get_int("axis", 1))


def _dequantize(node: ir.Node, walk: Walk) -> None:
    q = node.inputs[0]
    assert q is not None
    if node.attributes.get_int("block_size", 0) or not (q in walk.twins or constant_of(q) is not None or _is_lookup(q)):
        raise NotConstantError
    if _is_lookup(q) and q not in walk.twins:
        _lookup(node, q, walk)
    else:
        walk.float_result(node, walk.real(node, 0, 1, 2, node.attributes.get_int("axis", 1)))


def _is_lookup(q: ir.Value) -> bool:
    """Rows of a quantised table (embedding)."""
    maker = q.producer()
    return maker is not None and maker.op_type == "Gather" and constant_of(maker.inputs[0]) is not None


def _lookup(node: ir.Node, q: ir.Value, walk: Walk) -> None:
    """DequantizeLinear of rows → rows of the dequantised table."""
    gather = q.producer()
    assert gather is not None
    table, scale = gather.inputs[0], constant_of(node.inputs[1])
    numbers, zero = constant_of(table), constant_of(node.inputs[2]) if len(node.inputs) > 2 else np.zeros((), np.int8)
    if table is None or numbers is None or scale is None or zero is None or scale.size > 1:
        raise NotConstantError
    real = walk.write.constant((numbers.astype(scale.dtype) - zero.astype(scale.dtype)) * scale, unquantised(table.name or ""))
    rows = walk.write.before(
        node, "Gather", [real, gather.inputs[1]], dict(gather.attributes.items()), name=f"{gather.name}_real"
    )
    walk.float_result(node, rows)


def _dynamic_quantize(node: ir.Node, walk: Walk) -> None:
    """Its range follows the data, so nothing saturates: q := x, scale := 1, zero := 0, and all products come out right."""
    q, scale, zero = node.outputs
    if any(v.is_graph_output() for v in node.outputs) or any(user.op_type not in _READING for user, _ in q.uses()):
        raise NotConstantError
    assert node.inputs[0] is not None
    one, nothing = np.ones((), np.float32), np.zeros((), np.uint8)
    scale.replace_all_uses_with(walk.write.constant(one, "unit_scale"))
    zero.replace_all_uses_with(walk.write.constant(nothing, "unit_zero"))
    walk.twins[q] = Twin(node.inputs[0], one, nothing.astype(np.float32))


def _integer_product(op_type: str) -> Rule:
    """Σ (a − a_zero)(b − b_zero) in integers → the product of the twins, which counts in scale_a · scale_b."""

    def rule(node: ir.Node, walk: Walk) -> None:
        a, scale_a = _centred(node, 0, 2, walk, None)
        b, scale_b = _centred(node, 1, 3, walk, 0 if op_type == "Conv" else None)
        if scale_a.size * scale_b.size > 1:
            raise NotConstantError
        y = walk.write.before(node, op_type, [a, b], dict(node.attributes.items()), name=node.name or "")
        maker = y.producer()
        walk.counting += [maker] if maker is not None and constant_of(b) is not None else []
        scale = np.asarray(scale_a * scale_b)
        walk.twins[node.outputs[0]] = Twin(y, scale, np.zeros_like(scale))

    return rule


def _centred(node: ir.Node, operand: int, zero: int, walk: Walk, axis: int | None) -> tuple[ir.Value, Array]:
    """An operand minus its zero point, and the scale that it counts in."""
    value = node.inputs[operand]
    offset = (
        constant_of(node.inputs[zero]) if zero < len(node.inputs) and node.inputs[zero] is not None else np.zeros((), np.int8)
    )
    known = constant_of(value)
    if offset is None or value is None:
        raise NotConstantError
    offset = offset.astype(np.float32)
    if known is not None:
        numbers = known.astype(np.float32) - along(offset, known.ndim, axis)
        return walk.write.constant(numbers, unquantised(value.name or "")), np.ones((), np.float32)
    twin = walk.twins.get(value)
    if twin is None or offset.size > 1 or twin.zero.size > 1 or float(twin.zero.item()) != float(offset.item()):
        raise NotConstantError
    return twin.value, twin.scale


def _cast(node: ir.Node, walk: Walk) -> None:
    """Integers as floats: what the twin counts."""
    twin = walk.twins.get(node.inputs[0]) if node.inputs[0] is not None else None
    kind = ir.DataType(node.attributes.get_int("to", 0))
    if twin is None or not kind.is_floating_point():
        raise NotConstantError
    counted = walk.integers(node, twin)
    same = ir.DataType.from_numpy(twin.scale.dtype) == kind
    walk.float_result(node, counted if same else walk.write.before(node, "Cast", [counted], {"to": int(kind)}))


_RULES: dict[str, Rule] = LAYERS | BLOCKS | {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _integer_product("MatMul"), "ConvInteger": _integer_product("Conv"), "Cast": _cast,
}  # fmt: skip


def quantised_operators() -> Sequence[str]:
    """The operators that have a twin, for documentation."""
    return sorted(_RULES.keys() - {"Cast"})
