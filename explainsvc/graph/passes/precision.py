"""Half precision → float32: gradients underflow in float16, and few onnxruntime CPU kernels exist for it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def upcast_half(model: ir.Model) -> bool:
    """Every float16/bfloat16 value, constant and Cast becomes float32, inputs and outputs too; True when there was one."""
    values = [v for n in model.graph.all_nodes() for v in n.outputs] + list(model.graph.inputs)
    tensors = list(model.graph.initializers.values())
    if not any(v.dtype in HALVES for v in (*values, *tensors, *model.graph.outputs)):
        return False
    for value in (*values, *model.graph.outputs):
        if value.dtype in HALVES:
            value.dtype = ir.DataType.FLOAT
    for value in tensors:
        if value.const_value is not None and value.const_value.dtype in HALVES:
            value.const_value = _float(value.const_value)
            value.dtype = ir.DataType.FLOAT
    for node in model.graph.all_nodes():
        _upcast_attributes(node)
    return True


def _float(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _upcast_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in HALVES:
            node.attributes[name] = ir.AttrTensor(name, _float(attribute.value))
        elif name in ("to", "dtype") and attribute.type == ir.AttributeType.INT and attribute.value in [int(h) for h in HALVES]:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
