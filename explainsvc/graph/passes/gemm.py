"""MatMul + Add of a bias → Gemm (onnxscript's rule): one dense layer, bias included, as relevance rules see it."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import _matmul_add_to_gemm


def matmul_add_to_gemm(model: ir.Model) -> bool:
    """True when a pair was replaced."""
    before = model.graph.num_nodes()
    rewrite(model, pattern_rewrite_rules=_matmul_add_to_gemm.rules)
    common.RemoveUnusedNodesPass()(model)
    return model.graph.num_nodes() != before
