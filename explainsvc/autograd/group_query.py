"""The body of com.microsoft's GroupQueryAttention: see ``bodies``."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from explainsvc.autograd.body_text import MERGE, asks_for, attend, attribute, function, heads, present, rank


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
    lines += ["ends3 = Unsqueeze (ends, i2)", "filled = Less (k_at, ends3)", "earlier = LessOrEqual (k_at, query_at3)"]
    lines += ["seen = And (filled, earlier)" if attribute(node, "causal", 1) else "seen = Identity (filled)"]
    if window > 0:
        lines += [f"window = Constant <value = int64[1] {{{window}}}> ()", "first = Sub (query_at3, window)"]
        lines += ["near = Greater (k_at, first)", "seen_near = And (seen, near)"]
    lines += [f"seen4 = Unsqueeze ({'seen_near' if window > 0 else 'seen'}, i1)"]
    if not present(node, 10):
        return [*lines, "scores_bias = Identity (seen4)"]
    return [*lines, "hidden = Constant <value = float {-inf}> ()", "hidden_like = CastLike (hidden, query)",
            "scores_bias = Where (seen4, attention_bias, hidden_like)"]  # fmt: skip
