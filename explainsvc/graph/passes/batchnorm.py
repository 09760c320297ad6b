"""BatchNormalization folded into the Conv, ConvTranspose or Gemm before it (onnxscript's rules).

LRP is only conserved on the folded graph, and folding is faster: two parameters of one affine map instead of two maps.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import _fuse_batchnorm

from explainsvc.graph.passes.rewrite import keep_names, maker

_NORM = "BatchNormalization"


def fold_batchnorm(model: ir.Model) -> bool:
    """True when a BatchNormalization was folded."""
    before = _count(model)
    names = {n.outputs[0].name: p.name for n in model.graph if n.op_type == _NORM and (p := maker(n.inputs[0])) is not None}
    rewrite(model, pattern_rewrite_rules=_fuse_batchnorm.rules)
    common.RemoveUnusedNodesPass()(model)
    keep_names(model.graph, names)
    return _count(model) != before


def _count(model: ir.Model) -> int:
    return sum(node.op_type == _NORM for node in model.graph)
