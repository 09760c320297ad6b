"""Operators that are functions of others: each is replaced by its body, which has derivatives.

ONNX defines Attention, RotaryEmbedding and some forty more by a body of simpler operators; what it says about those of
onnxruntime is in :mod:`explainsvc.autograd.bodies`. Operators of the vjp table stay as they are: their own rule is
faster, and relevance rules know them by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.bodies import BODIES
from explainsvc.autograd.inference import infer
from explainsvc.autograd.registry import known_operators

NESTING = 8
"""Bodies that use functions that use functions: ONNX has three levels at most."""
_KEPT = frozenset({"Bernoulli", "DynamicQuantizeLinear"})
"""Random numbers would be others than the operator's own; the quantising family is treated as a whole elsewhere."""
_DOMAIN = "explainsvc.body"


def expand_functions(model: ir.Model) -> bool:
    """Replaces, in place, every operator that has no vjp but a body; True when there was one. Shapes are then inferred.

    Bodies differ by the ranks and types of the operands: a node whose operands' ranks nobody can tell is left alone.
    The nodes and values of a body are named ``<node>/<name in the body>``.
    """
    changed = False
    for _ in range(NESTING):
        candidates = [n for n in model.graph.all_nodes() if _may_have_body(n)]
        if not candidates:
            break
        infer(model)
        if not _inline(model, candidates):
            break
        changed = True
    if changed:
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.RemoveUnusedNodesPass()(model)
        infer(model)
    return changed


def _may_have_body(node: ir.Node) -> bool:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if (domain, node.op_type) in BODIES:
        return True
    name = f"{domain}::{node.op_type}" if domain else node.op_type
    return name not in known_operators() and has_body(domain, node.op_type)


def has_body(domain: str, op_type: str) -> bool:
    """Whether ONNX defines an operator by a body that may stand for it."""
    if op_type in _KEPT or not onnx.defs.has(op_type, domain):
        return False
    schema: Any = onnx.defs.get_schema(op_type, domain)  # its type stubs lack the functions
    return bool(schema.has_function or schema.has_context_dependent_function)


def _inline(model: ir.Model, nodes: Iterable[ir.Node]) -> bool:
    """Makes every node the call of a function of its own, and inlines these."""
    for node in nodes:
        body = _body(node, model.graph.opset_imports.get("", 1))
        if body is None:
            continue
        function = _named(body, node, f"body{len(model.functions)}", model.graph.opset_imports)
        model.functions[function.identifier()] = function
        node.domain, node.op_type = _DOMAIN, function.name
        for value in node.outputs:
            value.name = value.name or None  # an omitted output: the body's value keeps the name it has there
            if value.shape is not None:  # onnx infers lengths of 0 from symbolic ones here; the body tells them better
                value.shape = ir.Shape([None] * len(value.shape))
    return bool(common.InlinePass(criteria=lambda f: f.domain == _DOMAIN)(model).modified)


def _body(node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    """The function body of one node, or None where it has none for these operands."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if (domain, node.op_type) in BODIES:
        return BODIES[domain, node.op_type](node)
    schema: Any = _schema(node.op_type, opset, domain)  # its type stubs lack the functions
    serialized = b""
    if schema.has_function:
        serialized = schema.function_body.SerializeToString()
    elif schema.has_context_dependent_function and all(v is None or _typed(v) for v in node.inputs):
        known = schema.context_dependent_function_opset_versions
        version = max((v for v in known if v <= max(opset, schema.since_version)), default=known[0])
        types = [_type(v).SerializeToString() for v in node.inputs]
        serialized = schema.get_context_dependent_function_with_opset_version(
            version, ir.to_proto(node).SerializeToString(), types
        )
    body = onnx.FunctionProto.FromString(serialized)
    return body if body.node else None


def _schema(op_type: str, opset: int, domain: str) -> onnx.defs.OpSchema:
    """As the model's opset defines the operator; bodies of ours also use operators that are newer than the model."""
    try:
        return onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return onnx.defs.get_schema(op_type, domain)


def _typed(value: ir.Value) -> bool:
    return value.dtype is not None and value.shape is not None


def _type(value: ir.Value | None) -> onnx.TypeProto:
    return onnx.TypeProto() if value is None else ir.serde.serialize_value(value).type


def _named(body: onnx.FunctionProto, node: ir.Node, name: str, opsets: dict[str, int]) -> ir.Function:
    """The body as a function that can be inlined, its nodes and values in the node's name."""
    prefix = node.name or node.outputs[0].name or node.op_type
    body.domain, body.name = _DOMAIN, name
    produced = {output for inner in body.node for output in inner.output}
    outputs = [output if output in produced else body.output[0] for output in body.output]
    body.output[:] = outputs[: len(node.outputs)]  # results that the node omits have no producer; nobody reads them
    function = ir.serde.deserialize_function(body)
    function.opset_imports.clear()
    function.opset_imports.update(opsets)
    for inner in function.all_nodes():
        inner.name = f"{prefix}/{inner.name or inner.op_type}"
        for value in inner.outputs:
            value.name = f"{prefix}/{value.name}"
    return function
