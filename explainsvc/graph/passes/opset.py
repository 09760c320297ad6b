"""One modern opset: the vjp table is written for WORKING_OPSET and later."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnxscript import version_converter as onnxscript_converter

WORKING_OPSET = 21
"""ReduceX with axes inputs is 18, ScatterElements with reductions 16; 21 is what both converters reach."""
ONNXSCRIPT_FROM = 18
"""onnxscript's converter starts here; onnx's own one comes first for older graphs."""


def convert_opset(model: ir.Model) -> bool:
    """Converts up to ``WORKING_OPSET`` where the model is older; True when it was."""
    version = model.graph.opset_imports.get("")
    if version is None or version >= WORKING_OPSET:
        return False
    if version < ONNXSCRIPT_FROM:
        _onnx_convert(model)
    else:
        onnxscript_converter.convert_version(model, WORKING_OPSET)
    if model.graph.opset_imports[""] < WORKING_OPSET:
        raise ValueError(f"no converter takes opset {version} to {WORKING_OPSET}")
    return True


def _onnx_convert(model: ir.Model) -> None:
    """onnx.version_converter. Below IR version 4 it looks for initializers among the inputs, where ours no longer are."""
    model.ir_version = max(model.ir_version or 4, 8)
    converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), WORKING_OPSET))
    model.graph = converted.graph
    model.ir_version = max(converted.ir_version, 10)
