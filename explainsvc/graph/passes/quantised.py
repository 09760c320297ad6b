"""The quantised operators, each by its real twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.twins import NotConstantError, Twin, Walk, along, unquantised

_PASSING = frozenset(
    "Reshape Flatten Transpose Squeeze Unsqueeze Identity Slice Split Gather GatherElements GatherND Expand Tile MaxPool "
    "DepthToSpace SpaceToDepth Resize Pad Concat Max Min ReduceMax ReduceMin".split()
)
"""Operators that only move or choose elements: they mean the same on the twin."""
_READING = _PASSING | {"MatMulInteger", "ConvInteger", "DequantizeLinear"}

Rule = Callable[[ir.Node, Walk], None]


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


def _conv(node: ir.Node, walk: Walk) -> None:
    """QLinearConv: x, w and y with scale and zero each; the bias counts in scale_x · scale_w."""
    _only(node, channels_last=0)
    x, w = walk.real(node, 0, 1, 2), walk.real(node, 3, 4, 5, 0)
    bias = constant_of(node.inputs[8]) if len(node.inputs) > 8 and node.inputs[8] is not None else None
    scales = constant_of(node.inputs[1]), constant_of(node.inputs[4])
    assert scales[0] is not None
    assert scales[1] is not None
    extra = [] if bias is None else [walk.write.constant(bias.astype(np.float32) * (scales[0] * scales[1]), _bias_name(node, 8))]
    attributes = {k: v for k, v in node.attributes.items() if k != "channels_last"}
    y = walk.write.before(node, "Conv", [x, w, *extra], attributes, name=node.name or "")
    walk.quantised(node, y, 6, 7)


def _bias_name(node: ir.Node, operand: int) -> str:
    value = node.inputs[operand]
    return unquantised(("" if value is None else value.name) or "")


def _matmul(node: ir.Node, walk: Walk) -> None:
    y = walk.write.before(node, "MatMul", [walk.real(node, 0, 1, 2), walk.real(node, 3, 4, 5)], name=node.name or "")
    walk.quantised(node, y, 6, 7)


def _gemm(node: ir.Node, walk: Walk) -> None:
    """QGemm of com.microsoft; without a scale for y the result is float."""
    axis = 0 if node.attributes.get_int("transB", 0) else None
    a, b = walk.real(node, 0, 1, 2), walk.real(node, 3, 4, 5, axis)
    c = constant_of(node.inputs[6]) if len(node.inputs) > 6 and node.inputs[6] is not None else None
    scales = constant_of(node.inputs[1]), constant_of(node.inputs[4])
    assert scales[0] is not None
    assert scales[1] is not None
    alpha = node.attributes.get_float("alpha", 1.0)
    extra = (
        []
        if c is None
        else [walk.write.constant(c.astype(np.float32) * np.float32(alpha) * (scales[0] * scales[1]), _bias_name(node, 6))]
    )
    y = walk.write.before(node, "Gemm", [a, b, *extra], dict(node.attributes.items()), name=node.name or "")
    if len(node.inputs) > 7 and node.inputs[7] is not None:
        walk.quantised(node, y, 7, 8)
    else:
        walk.float_result(node, y)


def _binary(op_type: str) -> Rule:
    """a, b and y with scale and zero each."""

    def rule(node: ir.Node, walk: Walk) -> None:
        y = walk.write.before(node, op_type, [walk.real(node, 0, 1, 2), walk.real(node, 3, 4, 5)], name=node.name or "")
        walk.quantised(node, y, 6, 7)

    return rule


def _unary(op_type: str, **only: int) -> Rule:
    """x and y with scale and zero each; attributes as the float operator has them."""

    def rule(node: ir.Node, walk: Walk) -> None:
        _only(node, **only)
        attributes = {k: v for k, v in node.attributes.items() if k not in only}
        y = walk.write.before(node, op_type, [walk.real(node, 0, 1, 2)], attributes, name=node.name or "")
        walk.quantised(node, y, 3, 4)

    return rule


def _softmax(node: ir.Node, walk: Walk) -> None:
    """Its attribute ``opset`` says whose Softmax it is: before 13 it flattened all axes from ``axis`` on."""
    x, rank = walk.real(node, 0, 1, 2), node.inputs[0]
    axis = node.attributes.get_int("axis", -1)
    last = axis == -1 or (rank is not None and rank.shape is not None and axis == len(rank.shape) - 1)
    if node.attributes.get_int("opset", 13) < 13 and not last:
        raise NotConstantError
    walk.quantised(node, walk.write.before(node, "Softmax", [x], {"axis": axis}, name=node.name or ""), 3, 4)


def _concat(node: ir.Node, walk: Walk) -> None:
    """QLinearConcat: scale and zero of y, then each operand with its own."""
    parts = [walk.real(node, i, i + 1, i + 2) for i in range(2, len(node.inputs), 3)]
    attributes = {"axis": node.attributes.get_int("axis", 0)}
    walk.quantised(node, walk.write.before(node, "Concat", parts, attributes, name=node.name or ""), 0, 1)


def _where(node: ir.Node, walk: Walk) -> None:
    y = walk.write.before(
        node, "Where", [node.inputs[0], walk.real(node, 1, 2, 3), walk.real(node, 4, 5, 6)], name=node.name or ""
    )
    walk.quantised(node, y, 7, 8)


def _matmul_to_float(node: ir.Node, walk: Walk) -> None:
    """MatMulIntegerToFloat: a, b, scale_a, scale_b, zero_a, zero_b, bias. A scale of one comes from DynamicQuantizeLinear."""
    y = walk.write.before(node, "MatMul", [walk.real(node, 0, 2, 4), walk.real(node, 1, 3, 5)], name=node.name or "")
    walk.float_result(node, _biased(node, y, 6, walk))


def _dynamic_matmul(node: ir.Node, walk: Walk) -> None:
    """DynamicQuantizeMatMul: float a, b, scale_b, zero_b, bias."""
    y = walk.write.before(node, "MatMul", [node.inputs[0], walk.real(node, 1, 2, 3)], name=node.name or "")
    walk.float_result(node, _biased(node, y, 4, walk))


def _biased(node: ir.Node, value: ir.Value, operand: int, walk: Walk) -> ir.Value:
    bias = node.inputs[operand] if operand < len(node.inputs) else None
    return value if bias is None else walk.write.before(node, "Add", [value, bias])


def _dynamic_lstm(node: ir.Node, walk: Walk) -> None:
    """DynamicQuantizeLSTM: W and R are transposed, [directions, in, 4·hidden], with scales per direction or column."""
    weights = [_lstm_weight(node, operand, scale, walk) for operand, scale in ((1, 8), (2, 10))]
    inputs = [node.inputs[0], *weights, *node.inputs[3:8]]
    outputs = [ir.Value(name=walk.write.fresh(f"{v.name}_real")) for v in node.outputs]
    new = ir.node("LSTM", inputs, dict(node.attributes.items()), outputs=outputs, name=node.name)
    graph = node.graph
    assert graph is not None
    graph.insert_before(node, new)
    for old, value in zip(node.outputs, outputs, strict=True):
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        value.name, old.name = old.name, value.name
    walk.replaced += 1


def _lstm_weight(node: ir.Node, operand: int, scale: int, walk: Walk) -> ir.Value:
    numbers, factor, zero = (constant_of(node.inputs[i]) for i in (operand, scale, scale + 1))
    if numbers is None or factor is None or zero is None:
        raise NotConstantError
    shape = (len(numbers), 1, -1)
    real = (numbers.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * factor.reshape(shape)
    return walk.write.constant(np.swapaxes(real, 1, 2), _bias_name(node, operand))


def _only(node: ir.Node, **attributes: int) -> None:
    """Layouts that this pass does not write are left as they are."""
    if any(node.attributes.get_int(name, value) != value for name, value in attributes.items()):
        raise NotConstantError


_RULES: dict[str, Rule] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _integer_product("MatMul"), "ConvInteger": _integer_product("Conv"), "Cast": _cast,
    "QLinearConv": _conv, "QLinearMatMul": _matmul, "QGemm": _gemm, "QLinearAdd": _binary("Add"), "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"), "QLinearLeakyRelu": _unary("LeakyRelu"), "QLinearSoftmax": _softmax,
    "QLinearAveragePool": _unary("AveragePool", channels_last=0), "QLinearConcat": _concat, "QLinearWhere": _where,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool", channels_last=0),
    "MatMulIntegerToFloat": _matmul_to_float, "DynamicQuantizeMatMul": _dynamic_matmul, "DynamicQuantizeLSTM": _dynamic_lstm,
}  # fmt: skip


def quantised_operators() -> Sequence[str]:
    """The operators that have a twin, for documentation."""
    return sorted(_RULES.keys() - {"Cast"})
