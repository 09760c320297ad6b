"""BatchNormalization folded into the Conv, ConvTranspose or Gemm before it (onnxscript's rules).

LRP is only conserved on the folded graph, and folding is faster: two parameters of one affine map instead of two maps.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import _fuse_batchnorm


def fold_batchnorm(model: ir.Model) -> bool:
    """True when a BatchNormalization was folded."""
    before = _count(model)
    rewrite(model, pattern_rewrite_rules=_fuse_batchnorm.rules)
    common.RemoveUnusedNodesPass()(model)
    return _count(model) != before


def _count(model: ir.Model) -> int:
    return sum(node.op_type == "BatchNormalization" for node in model.graph)
