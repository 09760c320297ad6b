"""Quantised models → their dequantised twin: float operators on dequantised weights, without the rounding of activations.

Every quantised tensor q stands for the real numbers (q − zero) · scale. The pass walks the graph once and gives each its
real twin: a QuantizeLinear becomes the Clip of its saturation, an operator on integers the float operator of the same
name, a DequantizeLinear what it dequantises. Rounding, whose derivative is zero almost everywhere, is what the twin leaves
out; weights were rounded before and stay so. The fixed range of a quantiser is often all that is left of a ReLU.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.graph.passes.constants import fold_constants
from explainsvc.graph.passes.quantised import rule_for
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.twins import NotConstantError, Walk, range_of


def dequantize(model: ir.Model, straight_through: bool = False) -> bool:
    """Replaces quantised operators by their real twins; True when a float value has changed its maker.

    Args:
        model: Changed in place.
        straight_through: Whether twins of activations are rounded as the quantised ones are, by a Round that gradients
            pass unchanged (Bengio et al. 2013, arXiv:1308.3432, section 3). Quantisers whose range follows the data have
            no fixed step; their rounding is left out all the same.
    """
    walk = Walk(model.graph, straight_through)
    for node in list(model.graph.all_nodes()):
        rule = rule_for(node, walk)
        if rule is not None:
            try:
                rule(node, walk)
            except NotConstantError:
                continue
    if walk.replaced:
        common.RemoveUnusedNodesPass()(model)
    if walk.counting:
        fold_constants(model)
        for product in walk.counting:
            _take_scale(product, walk)
        common.RemoveUnusedNodesPass()(model)
    return walk.replaced > 0


def _take_scale(product: ir.Node, walk: Walk) -> None:
    """The Mul by a constant after a product goes into its weights: they are real numbers then, as parameter units want."""
    y, weight = product.outputs[0], constant_of(product.inputs[1])
    user = next(iter(y.uses())).node if len(y.uses()) == 1 else None
    if user is None or user.op_type != "Mul" or weight is None:
        return
    factor = next((constant_of(v) for v in user.inputs if v is not y), None)
    if factor is None:
        return
    columns = factor.shape[-1:] if product.op_type == "MatMul" else factor.shape[1:2]
    if factor.size > 1 and (columns != (factor.size,) or (product.op_type == "Conv" and factor.ndim != weight.ndim)):
        return
    per_column = factor.reshape(-1) if product.op_type == "MatMul" else factor.reshape(-1, *[1] * (weight.ndim - 1))
    name = (product.inputs[1] or y).name or ""
    product.replace_input_with(1, walk.write.constant((weight * per_column).astype(weight.dtype), f"{name}_scaled"))
    user.outputs[0].replace_all_uses_with(y, replace_graph_outputs=True)


def rounding_tolerance(model: ir.Model) -> float:
    """What rounding may change in an output, relative to its largest magnitude.

    n quantisers of activations are off by up to half a step each, at random: √n / 2 steps of the coarsest. The bound is
    ``STEPS`` times √n steps, as a tensor seldom fills its range.
    """
    levels = [_levels(node) for node in model.graph.all_nodes()]
    coarse = [count for count in levels if count]
    return STEPS * float(np.sqrt(len(coarse))) / min(coarse) if coarse else 0.0


STEPS = 6.0
"""Quantisation steps that an output may be off, per square root of the number of quantisers."""

ACTIVATIONS_IN_INT8 = 4
"""The accuracy level of MatMulNBits that lets onnxruntime round activations."""


def _levels(node: ir.Node) -> int:
    """Steps of the range of a node's result if it rounds activations, else 0."""
    if node.op_type in ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"):
        return 255
    if node.op_type == "MatMulNBits" and node.attributes.get_int("accuracy_level", 0) == ACTIVATIONS_IN_INT8:
        return 255
    rounds = node.op_type == "QuantizeLinear" and constant_of(node.inputs[0]) is None
    if not (rounds or node.op_type.startswith("QLinear") or node.op_type == "QGemm"):
        return 0
    dtype = node.outputs[0].dtype
    low, high = range_of(dtype if dtype is not None and dtype.is_integer() else ir.DataType.UINT8)
    return high - low
