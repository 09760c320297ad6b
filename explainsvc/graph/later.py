"""Operators that onnxruntime's optimisers write into the ONNX domain at opsets at which ONNX does not have them.

onnxruntime runs LayerNormalization from opset 1 on, and an operator of its own, SimplifiedLayerNormalization, which ONNX
took over as RMSNormalization. onnx's checker and converters know neither there.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from explainsvc.graph.limits import all_nodes, domain_of

_ONNX_SINCE = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 2**31, "ThresholdedRelu": 10}
"""Opset from which ONNX has what onnxruntime has from opset 1 on."""
_ASIDE = "com.microsoft"
"""A domain that onnx's tools leave alone."""
RMS_FROM = 23
"""Opset of RMSNormalization; from 21 on ONNX only widened types until then."""


def as_checked(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy for onnx's checker, those operators in onnxruntime's domain; None where there are none."""
    version = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if not any(_is_later(n.op_type, domain_of(n), version) for n in all_nodes(proto.graph.node)):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node in all_nodes(copy.graph.node):
        if _is_later(node.op_type, domain_of(node), version):
            node.domain = _ASIDE
    if all(o.domain != _ASIDE for o in copy.opset_import):
        copy.opset_import.append(onnx.helper.make_opsetid(_ASIDE, 1))
    return copy


def _is_later(op_type: str, domain: str, version: int) -> bool:
    return domain == "" and version < _ONNX_SINCE.get(op_type, 0)


def set_aside(model: ir.Model) -> list[str]:
    """Hides those operators from a converter, in place; :func:`bring_back` finds them by the names given back."""
    version, names = model.graph.opset_imports.get("", 0), []
    for i, node in enumerate(_later(model, version)):
        node.domain, node.name = _ASIDE, node.name or f"set_aside.{i}"
        names.append(node.name)
    if names:
        model.graph.opset_imports.setdefault(_ASIDE, 1)
    return names


def _later(model: ir.Model, version: int) -> Iterator[ir.Node]:
    return (n for n in model.graph.all_nodes() if _is_later(n.op_type, n.domain, version))


def bring_back(model: ir.Model, names: list[str]) -> None:
    """Undoes :func:`set_aside`."""
    for node in model.graph.all_nodes():
        if node.name in names and node.op_type in _ONNX_SINCE:
            node.domain = ""


def simplified_to_rms(model: ir.Model) -> bool:
    """SimplifiedLayerNormalization → RMSNormalization, the same under ONNX's name, in place; True when there was one.

    Not where its second result is read, which ONNX's operator does not have.
    """
    found = [n for n in model.graph.all_nodes() if n.op_type == "SimplifiedLayerNormalization" and n.domain == ""]
    found = [n for n in found if not any(v.uses() or v.is_graph_output() for v in n.outputs[1:])]
    for node in found:
        node.op_type = "RMSNormalization"
        node.resize_outputs(1)
    if found:
        model.graph.opset_imports[""] = max(model.graph.opset_imports.get("", 0), RMS_FROM)
        model.ir_version = max(model.ir_version or 0, 10)
    return bool(found)
