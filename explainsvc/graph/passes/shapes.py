"""Shape inference on the whole graph. Declared shapes of outputs are not trusted: exporters write wrong ones."""

from __future__ import annotations

import onnx_ir as ir

from explainsvc.autograd.inference import infer


def infer_shapes(model: ir.Model) -> None:
    """Sets shape and type of every value that onnx.shape_inference can tell."""
    for value in model.graph.outputs:
        if value.producer() is not None:
            value.shape = None
    infer(model)
