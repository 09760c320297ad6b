"""MatMul + Add of a bias → Gemm (onnxscript's rules): one dense layer, bias included, as relevance rules see it."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import RewriteRuleSet, rewrite
from onnxscript.rewriter.rules.common import _matmul_add_to_gemm as onnxscript_rules

from explainsvc.graph.passes.rewrite import keep_names, maker
from explainsvc.graph.passes.shapes import infer_shapes


class _ConstantBias:
    """Only a constant is a bias: the sum of a product and another activation stays an Add, whose shares rules know."""

    def check(self, context: Any, input_a: ir.Value, input_b: ir.Value, input_c: ir.Value, **_: Any) -> Any:
        found = super().check(context, input_a, input_b)  # type: ignore[misc]
        return found if input_c.const_value is not None else found.fail("the bias is not constant")


def _bias_only(pattern: Any) -> Any:
    return type(f"Bias{pattern.__name__}", (_ConstantBias, pattern), {})


_PATTERNS = (
    onnxscript_rules.TransABMatMulAddToGemm,
    onnxscript_rules.TransAMatMulAddToGemm,
    onnxscript_rules.TransBMatMulAddToGemm,
    onnxscript_rules.MatMulAddToGemm,
)
_RULES = RewriteRuleSet([_bias_only(pattern).rule() for pattern in _PATTERNS])


def matmul_add_to_gemm(model: ir.Model) -> bool:
    """True when a pair was replaced."""
    before = model.graph.num_nodes()
    made = [(n, p) for n in model.graph if n.op_type == "Add" for v in n.inputs if (p := maker(v)) and p.op_type == "MatMul"]
    names = {add.outputs[0].name: product.name for add, product in made}
    if any(v is not None and v.shape is None for _, product in made for v in product.inputs):
        infer_shapes(model)  # the rules ask for ranks, which not every exporter writes down
    rewrite(model, pattern_rewrite_rules=_RULES)
    common.RemoveUnusedNodesPass()(model)
    keep_names(model.graph, names)
    return model.graph.num_nodes() != before
