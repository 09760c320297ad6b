"""Function bodies written in ONNX's own language, one line of text a node: what the bodies of attention have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx.parser
import onnx_ir as ir

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
    if axes is None:
        return None
    allowed = ["allowed = Cast <to = 9> (mask)"]
    if rank(node, mask) == 1:
        allowed = [total, *_WITHIN]
    lines = [
        *allowed,
        "axes12 = Constant <value = int64[2] {1, 2}> ()",
        f"filter = Constant <value = float {{{_filter(node)}}}> ()",
    ]
    lines += ["filter_like = CastLike (filter, query)", "zero = Sub (filter_like, filter_like)"]
    lines += [f"allowed4 = Unsqueeze (allowed, {axes})", "padding = Where (allowed4, zero, filter_like)"]
    return [*lines, "scores_bias = Add (attention_bias, padding)" if present(node, bias) else "scores_bias = Identity (padding)"]


_WITHIN = [
    "positions = Range (scalar0, total, scalar1)",
    "lengths = Cast <to = 7> (mask)",
    "batch = Shape <start = 0, end = 1> (query)",
    "twice = Add (batch, batch)",
    "from_start = ConstantOfShape <value = int64[1] {0}> (batch)",
    "all_ends = Concat <axis = 0> (lengths, from_start)",
    "ends0 = Slice (all_ends, i0, batch)",
    "starts0 = Slice (all_ends, batch, twice)",
    "ends1 = Unsqueeze (ends0, i1)",
    "starts1 = Unsqueeze (starts0, i1)",
    "before_end = Less (positions, ends1)",
    "after_start = GreaterOrEqual (positions, starts1)",
    "allowed = And (before_end, after_start)",
]
"""A mask of one axis: where each sequence ends, and behind these, if it is twice as long, where each starts."""


def _filter(node: ir.Node) -> str:
    return repr(float(attribute(node, "mask_filter_value", MASKED)))
