"""Functions inlined, Constant nodes lifted to initializers, initializers no longer inputs, one name for the ONNX domain."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def simplify_structure(model: ir.Model) -> bool:
    """After this pass weights are initializers, wherever the exporter put them; True when anything changed."""
    changed = _one_domain(model)
    for step in (
        common.InlinePass(),
        common.RemoveInitializersFromInputsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.NameFixPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]  # onnx_ir leaves its __init__ untyped
    ):
        changed = step(model).modified or changed
    return changed


def _one_domain(model: ir.Model) -> bool:
    """``ai.onnx`` and the empty string name the same domain."""
    changed = False
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        for node in graph.all_nodes():
            if node.domain == "ai.onnx":
                node.domain, changed = "", True
        if "ai.onnx" in graph.opset_imports:
            graph.opset_imports.setdefault("", graph.opset_imports.pop("ai.onnx"))
            changed = True
    return changed
