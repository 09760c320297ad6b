"""Shape inference that also gets through operators of onnxruntime, which onnx knows nothing about.

For the time of the inference such an operator is a function of the model, made of ONNX operators whose results have the
same shapes. What comes out of it has no meaning; only shapes and types are read.
"""

from __future__ import annotations

from functools import cache

import onnx.parser
import onnx_ir as ir
from onnx_ir.passes import common

CHAINED = 8
"""Loops that start from the results of one another."""
_DOMAIN = "com.microsoft"
_SAME = "y = Identity (x) mean = Identity (x) inverse = Identity (x) total = Identity (x)"
_WINDOW = ", ".join(f"{name} = @{name}" for name in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"))
_STAND_INS = {
    "BiasGelu": ("(x, bias)", _SAME),
    "FastGelu": ("(x, bias)", _SAME),
    "QuickGelu": ("(x)", _SAME),
    "Gelu": ("(x)", _SAME),
    "SkipLayerNormalization": ("(x, skip, gamma, beta, bias)", _SAME),
    "SkipSimplifiedLayerNormalization": ("(x, skip, gamma, bias)", _SAME),
    "FusedConv": ("<auto_pad, dilations, group, kernel_shape, pads, strides> (x, w, b, z)", f"y = Conv <{_WINDOW}> (x, w, b)"),
    "FusedGemm": ("<transA, transB> (a, b, c)", "y = Gemm <transA = @transA, transB = @transB> (a, b)"),
}
"""Operator → attributes and operands, body. The results are y, mean, inverse, total, as many as the node has."""
_TURNED = {name: f'{name}_t = Einsum <equation = "...ij->...ji"> ({name})' for name in "ab"}
_PRODUCTS = {
    "": "y = MatMul (a, b)",
    "A": f"{_TURNED['a']} y = MatMul (a_t, b)",
    "B": f"{_TURNED['b']} y = MatMul (a, b_t)",
    "AB": f"{_TURNED['a']} {_TURNED['b']} y = MatMul (a_t, b_t)",
}
"""Which operands of a FusedMatMul are transposed → body."""


def infer(model: ir.Model) -> None:
    """Sets, in place, shape and type of every value that onnx.shape_inference can tell."""
    own = {key[:2] for key in model.functions}
    nodes = [n for n in model.graph.all_nodes() if n.domain == _DOMAIN and (n.domain, n.op_type) not in own]
    stand_ins = {node: f for node in nodes if (f := _stand_in(node.op_type, _flags(node), len(node.outputs))) is not None}
    for node, function in stand_ins.items():
        node.overload = function.overload
        model.functions[function.identifier()] = function
    _infer(model)
    for _ in range(CHAINED):
        found = [_ranks_of_states(node) for node in model.graph.all_nodes() if node.op_type == "Loop"]
        if not any(found):
            break
        _infer(model)
    for node, function in stand_ins.items():
        node.overload = ""
        model.functions.pop(function.identifier(), None)


def _infer(model: ir.Model) -> None:
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for value in (v for node in model.graph.all_nodes() for v in node.outputs):
        if not value.name:  # omitted results have one name, and so one shape, between them
            value.shape = None


def _ranks_of_states(loop: ir.Node) -> bool:
    """Gives the final states of a Loop the rank of the initial ones; True when a rank was found.

    onnx infers nothing of them, as their lengths may change. Their ranks do not, by induction, where the body makes of a
    state of that rank one of the same rank.
    """
    body, found = loop.attributes["body"].as_graph(), False
    states = zip(loop.inputs[2:], body.inputs[2:], body.outputs[1:], loop.outputs, strict=False)
    for initial, before, after, final in states:
        ranks = [None if v is None or v.shape is None else len(v.shape) for v in (initial, before, after)]
        if final.shape is None and ranks[0] is not None and ranks.count(ranks[0]) == 3:
            final.shape, found = ir.Shape([None] * ranks[0]), True
    return found


def _flags(node: ir.Node) -> str:
    """Which product a FusedMatMul is; one whose batch axes are transposed has no stand-in."""
    if node.op_type != "FusedMatMul":
        return ""
    if any(node.attributes.get_int(f"transBatch{operand}", 0) for operand in "AB"):
        return "batch"
    return "".join(operand for operand in "AB" if node.attributes.get_int(f"trans{operand}", 0))


@cache
def _stand_in(op_type: str, flags: str, results: int) -> ir.Function | None:
    """The function of one operator, flags and number of results, which its overload tells."""
    if op_type == "FusedMatMul" and flags in _PRODUCTS:
        signature, body = "(a, b)", _PRODUCTS[flags]
    elif op_type in _STAND_INS:
        signature, body = _STAND_INS[op_type]
    else:
        return None
    names = ", ".join(("y", "mean", "inverse", "total")[:results])
    header = f'<domain: "{_DOMAIN}", opset_import: ["": 21]>'
    proto = onnx.parser.parse_function(f"{header} {op_type} {signature} => ({names}) {{ {body} }}")
    function = ir.serde.deserialize_function(proto)
    function.overload = f"{flags}{results}"
    return function
