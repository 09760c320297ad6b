"""The quantised layers of onnxruntime, QLinear* and those of com.microsoft, each by its real twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.twins import NotConstantError, Walk, unquantised

Rule = Callable[[ir.Node, Walk], None]
"""Rewrites one node on the twins that the walk has found."""


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
    walk.float_result(node, biased(node, y, 6, walk))


def _dynamic_matmul(node: ir.Node, walk: Walk) -> None:
    """DynamicQuantizeMatMul: float a, b, scale_b, zero_b, bias."""
    y = walk.write.before(node, "MatMul", [node.inputs[0], walk.real(node, 1, 2, 3)], name=node.name or "")
    walk.float_result(node, biased(node, y, 4, walk))


def biased(node: ir.Node, value: ir.Value, operand: int, walk: Walk) -> ir.Value:
    """``value`` plus operand ``operand``, where there is one."""
    bias = node.inputs[operand] if operand < len(node.inputs) else None
    return value if bias is None else walk.write.before(node, "Add", [value, bias])


def _dynamic_lstm(node: ir.Node, walk: Walk) -> None:
    """DynamicQuantizeLSTM: W and R are transposed, [directions, in, 4·hidden], with scales per direction or column."""
    weights = [_lstm_weight(node, operand, scale, walk) for operand, scale in ((1, 8), (2, 10))]
    _replace(node, "LSTM", [node.inputs[0], *weights, *node.inputs[3:8]], walk)


def _attention(node: ir.Node, walk: Walk) -> None:
    """QAttention: x, w, bias, scales of x and w, mask, zeros of x and w, past. Its results are float."""
    x, w = walk.real(node, 0, 3, 6), walk.real(node, 1, 4, 7, 1)
    optional = [node.inputs[i] if i < len(node.inputs) else None for i in (2, 5, 8)]
    _replace(node, "Attention", [x, w, *optional], walk, node.domain)


def _replace(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], walk: Walk, domain: str = "") -> None:
    """A node with several float results by its real twin, which has the same attributes and results."""
    outputs = [ir.Value(name=walk.write.fresh(f"{v.name}_real")) for v in node.outputs]
    new = ir.node(op_type, inputs, dict(node.attributes.items()), domain=domain, outputs=outputs, name=node.name)
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


LAYERS: dict[str, Rule] = {
    "QLinearConv": _conv, "QLinearMatMul": _matmul, "QGemm": _gemm, "QLinearAdd": _binary("Add"), "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"), "QLinearLeakyRelu": _unary("LeakyRelu"), "QLinearSoftmax": _softmax,
    "QLinearAveragePool": _unary("AveragePool", channels_last=0), "QLinearConcat": _concat, "QLinearWhere": _where,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool", channels_last=0),
    "MatMulIntegerToFloat": _matmul_to_float, "DynamicQuantizeMatMul": _dynamic_matmul, "DynamicQuantizeLSTM": _dynamic_lstm,
    "QAttention": _attention,
}  # fmt: skip
"""Operator → its rule."""
