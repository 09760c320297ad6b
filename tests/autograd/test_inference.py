"""Shapes behind operators that onnx does not know."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from explainsvc.autograd.inference import infer

TEXT = """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
optimised (float[N, 3, 8, 8] x, float[4, 3, 3, 3] w, float[5, 64] d, float[5] b, float[7, 5] q) => (float y)
{
  conv = com.microsoft.FusedConv <activation = "Relu", kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)
  flat = Flatten (conv)
  gemm = com.microsoft.FusedGemm <activation = "Relu", transB = 1> (flat, d)
  gelu = com.microsoft.BiasGelu (gemm, b)
  norm, mean, inverse, total = com.microsoft.SkipLayerNormalization (gelu, gelu, b)
  left = com.microsoft.FusedMatMul <transA = 1> (norm, total)
  right = com.microsoft.FusedMatMul <transB = 1> (left, q)
  same = com.microsoft.QuickGelu (right)
  swapped = com.microsoft.FusedMatMul <transBatchA = 1> (x, x)
  y = ReduceSum <keepdims = 0> (same)
}
"""
SHAPES = {"conv": ["N", 4, 4, 4], "flat": ["N", 64], "gemm": ["N", 5], "gelu": ["N", 5], "norm": ["N", 5], "total": ["N", 5],
          "left": [5, 5], "right": [5, 7], "same": [5, 7], "swapped": None, "y": []}  # fmt: skip


def test_shapes_behind_operators_of_onnxruntime() -> None:
    """Every value has the shape that onnxruntime gives it; what no stand-in tells stays open; the model is as it was."""
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    before = [(n.domain, n.op_type, n.overload, dict(n.attributes)) for n in model.graph]
    infer(model)
    values = {v.name: v for node in model.graph for v in node.outputs}
    found = {name: None if (shape := values[name].shape) is None else [d if isinstance(d, int) else d.value for d in shape]
             for name in SHAPES}  # fmt: skip
    assert found == SHAPES
    assert values["total"].dtype == ir.DataType.FLOAT
    assert [(n.domain, n.op_type, n.overload, dict(n.attributes)) for n in model.graph] == before
    assert not model.functions
