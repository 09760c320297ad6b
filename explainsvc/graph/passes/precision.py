"""Half precision → float32: gradients underflow in float16, and few onnxruntime CPU kernels exist for it."""

from __future__ import annotations

import copy

import numpy as np
import onnx_ir as ir

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_EPS_IN_TOLERANCE = 31
"""Errors of layers add up: 3e-2 in float16 (eps 1e-3), 0.24 in bfloat16 (eps 8e-3), relative to the largest output."""


def half_tolerance(model: ir.Model) -> float:
    """What rounding to half precision may change in an output, relative to its largest magnitude."""
    kinds: list[ir.DataType | None] = [v.dtype for n in model.graph.all_nodes() for v in n.outputs]
    kinds += [v.dtype for v in (*model.graph.inputs, *model.graph.initializers.values())]
    if not any(kind in HALVES for kind in kinds):
        return 0.0
    return _EPS_IN_TOLERANCE * 2.0 ** (-7 if ir.DataType.BFLOAT16 in kinds else -10)


def upcast_half(model: ir.Model) -> bool:
    """Every float16/bfloat16 value, constant and Cast becomes float32, inputs and outputs too; True when there was one."""
    values = [v for n in model.graph.all_nodes() for v in n.outputs] + list(model.graph.inputs)
    tensors = list(model.graph.initializers.values())
    makes_half = any(_to_half(a) for n in model.graph.all_nodes() for a in n.attributes.values())
    if not makes_half and not any(v.dtype in HALVES for v in (*values, *tensors, *model.graph.outputs)):
        return False
    for value in (*values, *model.graph.outputs):
        if value.dtype in HALVES:
            _widen(value)
    for value in tensors:
        if value.const_value is not None and value.const_value.dtype in HALVES:
            value.const_value = _float(value.const_value)
            _widen(value)
    for node in model.graph.all_nodes():
        _upcast_attributes(node)
    return True


def _widen(value: ir.Value) -> None:
    """Its type becomes float32; a clone of a graph has the type objects of the graph that it was made from."""
    value.type = copy.deepcopy(value.type)
    value.dtype = ir.DataType.FLOAT


def _float(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _upcast_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in HALVES:
            node.attributes[name] = ir.AttrTensor(name, _float(attribute.value))
        elif _to_half(attribute):
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))


def _to_half(attribute: ir.Attr) -> bool:
    """Whether a Cast, Random… or EyeLike makes half precision."""
    named = attribute.name in ("to", "dtype") and attribute.type == ir.AttributeType.INT
    return named and attribute.value in [int(h) for h in HALVES]
