"""Constant folding by onnxscript's optimizer (shape arithmetic, weights reshaped in the graph)."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from explainsvc.graph.passes.rewrite import constant_of

OUTPUT_LIMIT = 64 * 2**20
"""Elements: weights that an exporter reshapes or transposes in the graph fold too, bombs do not."""

LONGEST_SHAPE = 16
"""Axes."""


def fold_constants(model: ir.Model) -> bool:
    """Replaces nodes of constant operands by their value; True when the graph became smaller."""
    return _fold(model)


def fold_shapes(model: ir.Model) -> bool:
    """The same with lengths that are declared or follow from the operators: what is computed from a static Shape goes.

    A pass of its own, because lengths that an exporter declares for inner values may be wrong: it is then taken back alone.
    """
    return _fold(model, onnx_shape_inference=True, should_fold=_fills_a_shape)


def _fold(model: ir.Model, **options: Any) -> bool:
    before = model.graph.num_nodes()
    optimizer.fold_constants(model, input_size_limit=OUTPUT_LIMIT, output_size_limit=OUTPUT_LIMIT, **options)
    common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return model.graph.num_nodes() != before


def _fills_a_shape(node: ir.Node) -> bool | None:
    """ConstantOfShape, which onnxscript leaves, where it takes part in the arithmetic of shapes (Expand of torch's exporter)."""
    length = constant_of(node.inputs[0]) if node.op_type == "ConstantOfShape" and node.domain == "" else None
    return True if length is not None and length.size == 1 and 0 < length.item() <= LONGEST_SHAPE else None
