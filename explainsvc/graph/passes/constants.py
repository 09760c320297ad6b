"""Constant folding by onnxscript's optimizer (shape arithmetic, weights reshaped in the graph)."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

OUTPUT_LIMIT = 64 * 2**20
"""Elements: weights that an exporter reshapes or transposes in the graph fold too, bombs do not."""


def fold_constants(model: ir.Model) -> bool:
    """Replaces nodes of constant operands by their value; True when the graph became smaller."""
    before = model.graph.num_nodes()
    optimizer.fold_constants(model, input_size_limit=OUTPUT_LIMIT, output_size_limit=OUTPUT_LIMIT)
    common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return model.graph.num_nodes() != before
