"""What onnxruntime's own attention operators compute, in operators of ONNX: the bodies that ``functions`` inlines.

A body is text in ONNX's own language with one line for what the node at hand has. None: no body, because the node uses
something that these formulas leave out (shared key-value buffers, beams, ragged batches, quantised caches, sinks).
Source: onnxruntime's ContribOperators.md and the CPU kernels, against which the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx.parser
import onnx_ir as ir

MICROSOFT = "com.microsoft"
MASKED = -10000.0
"""``mask_filter_value`` of Attention and MultiHeadAttention, where the node gives none."""


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Attribute ``name`` as a plain Python value."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def present(node: ir.Node, index: int) -> bool:
    """Whether operand ``index`` is given."""
    return index < len(node.inputs) and node.inputs[index] is not None


def rank(node: ir.Node, index: int) -> int | None:
    """Number of axes of an operand; None where it is absent or nobody knows."""
    value = node.inputs[index] if present(node, index) else None
    return None if value is None or value.shape is None else len(value.shape)


def asks_for(node: ir.Node, index: int) -> bool:
    """Whether result ``index`` is wanted."""
    return index < len(node.outputs) and bool(node.outputs[index].name)


def function(inputs: Sequence[str], outputs: Sequence[str], lines: Sequence[str]) -> onnx.FunctionProto:
    """The body of these lines. Constants have the names that :func:`_constants` gives them."""
    text = "\n".join([*_CONSTANTS, *lines])
    header = f'<domain: "explainsvc.body", opset_import: ["": 21]>\nbody ({", ".join(inputs)}) => ({", ".join(outputs)})'
    return onnx.parser.parse_function(f"{header} {{\n{text}\n}}")


_CONSTANTS = [f"i{n} = Constant <value = int64[1] {{{n}}}> ()" for n in range(5)]
_CONSTANTS += [f"scalar{n} = Constant <value = int64 {{{n}}}> ()" for n in (0, 1)]
_CONSTANTS += ["last = Constant <value = int64[1] {-1}> ()"]


def heads(name: str, x: str, count: int) -> list[str]:
    """``name`` = ``x`` [batch, length, heads · size] as [batch, heads, length, size]."""
    return [
        f"{name}_dims = Constant <value = int64[4] {{0, 0, {count}, -1}}> ()",
        f"{name}_split = Reshape ({x}, {name}_dims)",
        f"{name} = Transpose <perm = [0, 2, 1, 3]> ({name}_split)",
    ]


MERGE = ["merge = Constant <value = int64[3] {0, 0, -1}> ()", "Y_t = Transpose <perm = [0, 2, 1, 3]> (Y)"]
"""``output`` = ``Y`` [batch, heads, length, size] as [batch, length, heads · size]."""
MERGE += ["output = Reshape (Y_t, merge)"]


def attend(node: ir.Node, operands: str, *, causal: bool) -> str:
    """ONNX's Attention on q, k, v with heads, with the scale and softcap of ``node``."""
    scale, softcap = attribute(node, "scale", 0.0), attribute(node, "softcap", 0.0)
    given = [f"is_causal = {int(causal)}", *([f"scale = {scale!r}"] if scale else []), f"softcap = {float(softcap)!r}"]
    return f"Y, present_key, present_value = Attention <{', '.join(given)}> ({operands})"


# Masks -----------------------------------------------------------------------------------------------------------------


def bias_of(node: ir.Node, mask: int, bias: int, total: str) -> list[str] | None:
    """``scores_bias``, what is added to the scores: ``attention_bias`` and mask_filter_value at the masked keys.

    Args:
        node: Its operand ``mask`` is the key padding mask, ``bias`` the attention bias, both optional.
        mask: Index of the operand.
        bias: Index of the operand.
        total: Line that computes ``total``, the number of keys with the past ones.
    """
    if not present(node, mask):
        return ["scores_bias = Identity (attention_bias)"] if present(node, bias) else []
    axes = {1: "axes12", 2: "axes12", 3: "i1"}.get(rank(node, mask) or 0)
    if axes is None or (rank(node, mask) == 1 and not _one_length_each(node, mask)):
        return None
    allowed = ["allowed = Cast <to = 9> (mask)"]
    if rank(node, mask) == 1:
        allowed = [total, "positions = Range (scalar0, total, scalar1)", "lengths64 = Cast <to = 7> (mask)"]
        allowed += ["lengths = Unsqueeze (lengths64, i1)", "allowed = Less (positions, lengths)"]
    lines = [
        *allowed,
        "axes12 = Constant <value = int64[2] {1, 2}> ()",
        f"filter = Constant <value = float {{{_filter(node)}}}> ()",
    ]
    lines += ["filter_like = CastLike (filter, query)", "zero = Sub (filter_like, filter_like)"]
    lines += [f"allowed4 = Unsqueeze (allowed, {axes})", "padding = Where (allowed4, zero, filter_like)"]
    return [*lines, "scores_bias = Add (attention_bias, padding)" if present(node, bias) else "scores_bias = Identity (padding)"]


def _filter(node: ir.Node) -> str:
    return repr(float(attribute(node, "mask_filter_value", MASKED)))


def _one_length_each(node: ir.Node, mask: int) -> bool:
    """Whether a mask of one axis is the length of each sequence, and not one of the formats with starts and offsets."""
    lengths, first = node.inputs[mask], node.inputs[0]
    assert lengths is not None
    assert first is not None
    return first.shape is not None and lengths.shape is not None and lengths.shape[0] == first.shape[0]


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


# GroupQueryAttention ---------------------------------------------------------------------------------------------------


def group_query(node: ir.Node) -> onnx.FunctionProto | None:
    """Causal attention with a cache, each sequence of the batch at a position of its own.

    New keys are written behind the ``seqlens_k`` + 1 − length cached ones; the query at position p sees the keys up to p.
    """
    flags = ("smooth_softmax", "sliding_window_cache", "qk_output")
    unknown = any(attribute(node, f, 0) for f in flags) or any(present(node, i) for i in range(11, len(node.inputs)))
    packed, rotates = not present(node, 1), bool(attribute(node, "do_rotary", 0))
    if unknown or rank(node, 0) != 3 or asks_for(node, 3) or (packed and present(node, 2)):
        return None
    count, kv_count = attribute(node, "num_heads"), attribute(node, "kv_num_heads")
    lines = [*(_split_packed(count, kv_count) if packed else _SEPARATE)]
    names = (("q", count), ("k", kv_count), ("v", kv_count))
    for name, n in names:
        lines += heads(f"{name}h" if rotates and name != "v" else name, f"{name}3", n)
    lines += _PLACES
    if rotates:
        lines += [] if present(node, 9) else ["position_ids = Add (past_length, steps)"]
        lines += [f"{name} = {_rotate(node)} ({name}h, cos, sin, position_ids)" for name in "qk"]
    for name in ("key", "value"):
        lines += _written(name, name[0], cached=present(node, 3))
    lines += _visible(node)
    lines += [attend(node, "q, key_all, value_all, scores_bias", causal=False), *MERGE]
    inputs = ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total_length", "cos", "sin", "position_ids"]
    return function([*inputs, "attention_bias"][: len(node.inputs)], ["output", "present_key", "present_value"], lines)


_SEPARATE = ["q3 = Identity (query)", "k3 = Identity (key)", "v3 = Identity (value)"]


def _split_packed(count: int, kv_count: int) -> list[str]:
    """Query, key and value side by side, the first one with more heads."""
    return [
        "width = Shape <start = 2, end = 3> (query)",
        f"shares = Constant <value = int64[3] {{{count}, {kv_count}, {kv_count}}}> ()",
        f"all_heads = Constant <value = int64[1] {{{count + 2 * kv_count}}}> ()",
        "size = Div (width, all_heads)",
        "widths = Mul (shares, size)",
        "q3, k3, v3 = Split <axis = 2> (query, widths)",
    ]


def _rotate(node: ir.Node) -> str:
    cos = node.inputs[7]
    half = None if cos is None or cos.shape is None else cos.shape[1]
    partial = 2 * half if isinstance(half, int) else 0
    return f"RotaryEmbedding <interleaved = {attribute(node, 'rotary_interleaved', 0)}, rotary_embedding_dim = {partial}>"


_PLACES = [
    "length = Shape <start = 1, end = 2> (query)",
    "length0 = Squeeze (length)",
    "steps = Range (scalar0, length0, scalar1)",
    "ends0 = Cast <to = 7> (seqlens_k)",
    "ends1 = Add (ends0, i1)",
    "ends = Unsqueeze (ends1, i1)",
    "started = Sub (ends, length)",
    "past_length = Max (started, i0)",
    "total64 = Cast <to = 7> (total_length)",
    "total1 = Reshape (total64, last)",
]
"""``past_length`` [batch, 1] cached keys, ``ends`` [batch, 1] keys with the new ones, ``steps`` [length]."""


def _written(name: str, new: str, *, cached: bool) -> list[str]:
    """``<name>_all`` [batch, heads, capacity, size]: the new ones written into the cache from ``past_length`` on."""
    lines = [f"{new}_size = Shape <start = 3, end = 4> ({new})"]
    if cached:
        lines += [f"{new}_cached = Shape <start = 2, end = 3> (past_{name})", f"{new}_capacity = Max ({new}_cached, total1)",
                  f"{new}_missing = Sub ({new}_capacity, {new}_cached)", f"{new}_pads = Concat <axis = 0> (i0, {new}_missing)",
                  f"{new}_past = Pad (past_{name}, {new}_pads, , i2)"]  # fmt: skip
    else:
        lines += [f"{new}_capacity = Max (length, total1)", f"{new}_some = Sub ({new}, {new})",
                  f"{new}_none = ReduceSum <keepdims = 1> ({new}_some, i2)", f"{new}_full = Concat <axis = 0> (i1, i1, {new}_capacity, i1)",  # noqa: E501
                  f"{new}_past = Expand ({new}_none, {new}_full)"]  # fmt: skip
    return [*lines,
            f"{new}_capacity0 = Squeeze ({new}_capacity)", f"{new}_at = Range (scalar0, {new}_capacity0, scalar1)",
            f"{new}_from = Sub ({new}_at, past_length)", f"{new}_low = Max ({new}_from, i0)", f"{new}_top = Sub (length, i1)",
            f"{new}_index2 = Min ({new}_low, {new}_top)", f"{new}_axes = Constant <value = int64[2] {{1, 3}}> ()",
            f"{new}_index4 = Unsqueeze ({new}_index2, {new}_axes)", f"{new}_like = Shape ({new}_past)",
            f"{new}_index = Expand ({new}_index4, {new}_like)", f"{new}_moved = GatherElements <axis = 2> ({new}, {new}_index)",
            f"{new}_after = GreaterOrEqual ({new}_at, past_length)", f"{new}_before = Less ({new}_at, ends)",
            f"{new}_new2 = And ({new}_after, {new}_before)", f"{new}_new = Unsqueeze ({new}_new2, {new}_axes)",
            f"{name}_all = Where ({new}_new, {new}_moved, {new}_past)"]  # fmt: skip


def _visible(node: ir.Node) -> list[str]:
    """``scores_bias``: −∞ at the keys that a query does not see."""
    window = attribute(node, "local_window_size", -1)
    lines = ["query_at = Add (past_length, steps)", "query_at3 = Unsqueeze (query_at, i2)"]
    lines += [
        "seen = LessOrEqual (k_at, query_at3)"
        if attribute(node, "causal", 1)
        else "ends3 = Unsqueeze (ends, i2)\nseen = Less (k_at, ends3)"
    ]
    if window > 0:
        lines += [f"window = Constant <value = int64[1] {{{window}}}> ()", "first = Sub (query_at3, window)"]
        lines += ["near = Greater (k_at, first)", "seen_near = And (seen, near)"]
    lines += [f"seen4 = Unsqueeze ({'seen_near' if window > 0 else 'seen'}, i1)"]
    if not present(node, 10):
        return [*lines, "scores_bias = Identity (seen4)"]
    return [*lines, "hidden = Constant <value = float {-inf}> ()", "hidden_like = CastLike (hidden, query)",
            "scores_bias = Where (seen4, attention_bias, hidden_like)"]  # fmt: skip


BODIES: dict[tuple[str, str], Callable[[ir.Node], onnx.FunctionProto | None]] = {
    (MICROSOFT, "RotaryEmbedding"): rotary,
    (MICROSOFT, "Attention"): attention,
    (MICROSOFT, "MultiHeadAttention"): multi_head,
    (MICROSOFT, "GroupQueryAttention"): group_query,
}
"""Operator → its body for one node."""
