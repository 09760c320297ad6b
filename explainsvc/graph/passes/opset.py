"""One modern opset: the vjp table is written for WORKING_OPSET and later."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnxscript import version_converter as onnxscript_converter

from explainsvc.graph.later import bring_back, set_aside
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.scan import give_up_batch_axis, has_batched_scan

WORKING_OPSET = 21
"""ReduceX with axes inputs is 18, ScatterElements with reductions 16; 21 is what both converters reach."""
ONNXSCRIPT_FROM = 18
"""onnxscript's converter starts here; onnx's own one comes first for older graphs."""
COORDINATES_FROM = 11
"""Resize knows several coordinate systems from here on; before it had one, and Upsample the same."""

ROUNDING_UP_FROM = 22
"""onnx's shape inference counts the windows of pools with ``ceil_mode`` as onnxruntime does from here on."""
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})


def convert_opset(model: ir.Model) -> bool:
    """Converts up to ``WORKING_OPSET`` where the model is older; True when it was, or was raised for its pools."""
    changed = _converted(model)
    if model.graph.opset_imports[""] < ROUNDING_UP_FROM and any(map(_rounds_up, model.graph.all_nodes())):
        model.graph.opset_imports[""] = ROUNDING_UP_FROM  # which changes no operator but in the types that it takes
        _forget_shapes(model.graph)
        return True
    return changed


def _rounds_up(node: ir.Node) -> bool:
    return node.op_type in _POOLS and "ceil_mode" in node.attributes and node.attributes["ceil_mode"].as_int() == 1


def _converted(model: ir.Model) -> bool:
    version = model.graph.opset_imports.get("")
    if version is None:  # only operators of other domains; those that explanations add are of ours
        model.graph.opset_imports[""] = WORKING_OPSET
        return True
    if version >= WORKING_OPSET:
        return False
    if has_batched_scan(model):
        version = give_up_batch_axis(model)
    unknown = set_aside(model)
    if version < ONNXSCRIPT_FROM:
        _onnx_convert(model, version)
    else:
        onnxscript_converter.convert_version(model, WORKING_OPSET)
    bring_back(model, unknown)
    if model.graph.opset_imports[""] < WORKING_OPSET:
        raise ValueError(f"no converter takes opset {version} to {WORKING_OPSET}")
    return True


def _onnx_convert(model: ir.Model, version: int) -> None:
    """onnx.version_converter. Below IR version 4 it looks for initializers among the inputs, where ours no longer are.

    It trusts declared shapes, which exporters write wrong: those of results are inferred anew. It forgets metadata.
    """
    model.ir_version = max(model.ir_version or 4, 8)
    _forget_shapes(model.graph)
    metadata = {v.name: dict(node.metadata_props) for node in model.graph for v in node.outputs}
    converted = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), WORKING_OPSET))
    model.graph = converted.graph
    for node in model.graph:
        node.metadata_props.update(metadata.get(node.outputs[0].name, {}))
    model.ir_version = max(converted.ir_version, 10)
    if version < COORDINATES_FROM:
        for node in model.graph.all_nodes():
            _old_coordinates(node)


def _forget_shapes(graph: ir.Graph) -> None:
    for value in (v for node in graph for v in node.outputs):
        value.shape = None


def _old_coordinates(node: ir.Node) -> None:
    """Upsample and Resize-10 scaled coordinates from the corner; onnx's converter forgets to say so."""
    if node.op_type != "Resize" or "coordinate_transformation_mode" in node.attributes:
        return
    scales = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    shrinks = scales is not None and bool((scales < 1).any())
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "asymmetric")
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "ceil" if shrinks else "floor")
