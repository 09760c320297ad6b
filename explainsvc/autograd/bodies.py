"""What onnxruntime's own attention operators compute, in operators of ONNX: the bodies that ``functions`` inlines.

A body is text in ONNX's own language with one line for what the node at hand has. None: no body, because the node uses
something that these formulas leave out (shared key-value buffers, beams, ragged batches, quantised caches, sinks).
Source: onnxruntime's ContribOperators.md and the CPU kernels, against which the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir

from explainsvc.autograd import contrib
from explainsvc.autograd.body_text import MERGE, asks_for, attend, attribute, bias_of, function, heads, present, rank
from explainsvc.autograd.fused import fused_conv, fused_gemm
from explainsvc.autograd.group_query import group_query

MICROSOFT = "com.microsoft"


# RotaryEmbedding -------------------------------------------------------------------------------------------------------


def rotary(node: ir.Node) -> onnx.FunctionProto | None:
    """Operands in another order than ONNX's; one position is that of the first token; heads may follow from the cache."""
    axes = rank(node, 0)
    if axes not in (3, 4) or rank(node, 1) not in (1, 2) or attribute(node, "is_packed_batching", 0):
        return None
    if attribute(node, "scale", 1.0) != 1.0:
        return None
    return function(["x", "ids", "cos", "sin"], ["output"], [*_positions(node, axes), *_rotated(node, axes)])


def _positions(node: ir.Node, axes: int) -> list[str]:
    """``positions`` [batch or 1, length]."""
    if rank(node, 1) == 2:
        return ["positions = Identity (ids)"]
    length = f"length = Shape <start = {axes - 2}, end = {axes - 1}> (x)"
    return [length, "length0 = Squeeze (length)", "steps = Range (scalar0, length0, scalar1)",
            "shifted = Add (steps, ids)", "positions = Unsqueeze (shifted, i0)"]  # fmt: skip


def _rotated(node: ir.Node, axes: int) -> list[str]:
    count, partial = attribute(node, "num_heads", 0), attribute(node, "rotary_embedding_dim", 0)
    rotate = f"RotaryEmbedding <interleaved = {attribute(node, 'interleaved', 0)}, rotary_embedding_dim = {partial}>"
    if axes == 4:
        return [f"output = {rotate} (x, cos, sin, positions)"]
    if count:
        split = heads("q", "x", count)
    else:
        split = [
            "half = Shape <start = 1, end = 2> (cos)",
            "size = Mul (half, i2)",
            "q_dims = Concat <axis = 0> (i0, i0, last, size)",
        ]
        split += ["q_split = Reshape (x, q_dims)", "q = Transpose <perm = [0, 2, 1, 3]> (q_split)"]
    return [*split, f"Y = {rotate} (q, cos, sin, positions)", *MERGE]


# Attention and MultiHeadAttention --------------------------------------------------------------------------------------


def attention(node: ir.Node) -> onnx.FunctionProto | None:
    """Projection to q, k, v by one matrix; past and present keys and values in one tensor [2, batch, heads, length, size]."""
    unknown = attribute(node, "do_rotary", 0) or attribute(node, "past_present_share_buffer", 0) or present(node, 6)
    count, past, sizes = attribute(node, "num_heads"), present(node, 4), attribute(node, "qkv_hidden_sizes")
    length = "total_ = Shape <start = 1, end = 2> (query)"
    if past:
        length += "\nnew_length = Identity (total_)\npast_length = Shape <start = 3, end = 4> (past)\ntotal_sum = Add (new_length, past_length)"  # noqa: E501
    added = bias_of(node, 3, 5, f"{length}\ntotal = Squeeze ({'total_sum' if past else 'total_'})")
    if unknown or added is None:
        return None
    lines = [
        "product = MatMul (query, weights)",
        "projected = Add (product, bias)" if present(node, 2) else "projected = Identity (product)",
    ]
    if sizes:
        lines += [f"sizes = Constant <value = int64[3] {{{', '.join(map(str, sizes))}}}> ()"]
        lines += ["q3, k3, v3 = Split <axis = 2> (projected, sizes)"]
    else:
        lines += ["q3, k3, v3 = Split <axis = 2, num_outputs = 3> (projected)"]
    for name in "qkv":
        lines += heads(name, f"{name}3", count)
    if past:
        lines += ["past_key = Gather <axis = 0> (past, scalar0)", "past_value = Gather <axis = 0> (past, scalar1)"]
    operands = f"q, k, v, {'scores_bias' if added else ''}" + (", past_key, past_value" if past else "")
    lines += [*added, attend(node, operands, causal=bool(attribute(node, "unidirectional", 0))), *MERGE]
    lines += [
        "key1 = Unsqueeze (present_key, i0)",
        "value1 = Unsqueeze (present_value, i0)",
        "present = Concat <axis = 0> (key1, value1)",
    ]
    inputs = ["query", "weights", "bias", "mask", "past", "attention_bias"]
    return function(inputs[: len(node.inputs)], ["output", "present"], lines)


def multi_head(node: ir.Node) -> onnx.FunctionProto | None:
    """q, k, v given, apart or packed, keys and values also with heads already; a bias of the projection."""
    count, past, unknown = (
        attribute(node, "num_heads"),
        present(node, 6),
        any(present(node, i) for i in (8, 9)) or asks_for(node, 3),
    )
    projected = _projected(node, count)
    keys = "keys_now = Shape <start = 2, end = 3> (k)"
    if past:
        keys += "\nkeys_past = Shape <start = 2, end = 3> (past_key)\nkeys_all = Add (keys_now, keys_past)"
    added = bias_of(node, 4, 5, f"{keys}\ntotal = Squeeze ({'keys_all' if past else 'keys_now'})")
    if unknown or projected is None or added is None:
        return None
    operands = f"q, k, v, {'scores_bias' if added else ''}" + (", past_key, past_value" if past else "")
    lines = [*projected, *added, attend(node, operands, causal=bool(attribute(node, "unidirectional", 0))), *MERGE]
    inputs = ["query", "key", "value", "bias", "mask", "attention_bias", "past_key", "past_value"]
    return function(inputs[: len(node.inputs)], ["output", "present_key", "present_value"], lines)


def _projected(node: ir.Node, count: int) -> list[str] | None:
    """``q``, ``k``, ``v`` with heads."""
    match rank(node, 0), rank(node, 1), rank(node, 2), present(node, 3):
        case 5, None, None, False:
            return _unpacked("query", "qkv")
        case 3, 5, None, False:
            return [*heads("q", "query", count), *_unpacked("key", "kv")]
        case 3, 4, 4, biased:
            split = ["width = Shape <start = 2, end = 3> (query)", "q_bias = Slice (bias, i0, width)", "q3 = Add (query, q_bias)"]
            return [*(split if biased else ["q3 = Identity (query)"]), *heads("q", "q3", count),
                    "k = Identity (key)", "v = Identity (value)"]  # fmt: skip
        case 3, 3, 3, biased:
            lines = []
            if biased:
                lines += ["width = Shape <start = 2, end = 3> (query)", "v_width = Shape <start = 2, end = 3> (value)"]
                lines += ["widths = Concat <axis = 0> (width, width, v_width)", "q_b, k_b, v_b = Split <axis = 0> (bias, widths)"]
            for name, operand in (("q", "query"), ("k", "key"), ("v", "value")):
                lines += [f"{name}3 = Add ({operand}, {name}_b)" if biased else f"{name}3 = Identity ({operand})"]
                lines += heads(name, f"{name}3", count)
            return lines
    return None


def _unpacked(packed: str, names: str) -> list[str]:
    """[batch, length, heads, 2 or 3, size] taken apart."""
    lines = []
    for index, name in enumerate(names):
        lines += [
            f"{name}_index = Constant <value = int64 {{{index}}}> ()",
            f"{name}_part = Gather <axis = 3> ({packed}, {name}_index)",
        ]
        lines += [f"{name} = Transpose <perm = [0, 2, 1, 3]> ({name}_part)"]
    return lines


BODIES: dict[tuple[str, str], Callable[[ir.Node], onnx.FunctionProto | None]] = {
    (MICROSOFT, "RotaryEmbedding"): rotary,
    (MICROSOFT, "Attention"): attention,
    (MICROSOFT, "MultiHeadAttention"): multi_head,
    (MICROSOFT, "GroupQueryAttention"): group_query,
    (MICROSOFT, "FusedConv"): fused_conv,
    (MICROSOFT, "FusedGemm"): fused_gemm,
    (MICROSOFT, "GatherND"): contrib.gather_nd,
    (MICROSOFT, "GridSample"): contrib.grid_sample,
    (MICROSOFT, "Pad"): contrib.pad,
    (MICROSOFT, "Trilu"): contrib.trilu,
    (MICROSOFT, "Unique"): contrib.unique,
    (MICROSOFT, "ExpandDims"): contrib.expand_dims,
    (MICROSOFT, "EmbedLayerNormalization"): contrib.embed_layer_norm,
    (MICROSOFT, "CDist"): contrib.distances,
    (MICROSOFT, "ScaledSiLU"): contrib.scaled_silu,
    (MICROSOFT, "GatedAdd"): contrib.gated_add,
    (MICROSOFT, "GatedRMSNorm"): contrib.gated_rms_norm,
    (MICROSOFT, "BranchwiseRMSNorm"): contrib.branchwise_rms_norm,
    (MICROSOFT, "LinearAttentionGate"): contrib.linear_attention_gate,
    (MICROSOFT, "LinearAttention"): contrib.linear_attention,
    (MICROSOFT, "CausalConvWithState"): contrib.causal_conv,
}
"""Operator → its body for one node."""
