"""Attention as onnxruntime's optimisers and model builders write it, through its bodies.

Truths: slopes of what onnxruntime computes (float32, the only type that these kernels have), and torch for the plain rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.autograd.harness import Case, check, emitted
from tests.autograd.rows import normal
from tests.autograd.test_ml import difference

BATCH, LENGTH, HEADS, SIZE = 2, 3, 2, 8
WIDTH = HEADS * SIZE
TOTAL = 5
X = normal(BATCH, LENGTH, WIDTH)


def int32(*values: Any) -> Any:
    """An int32 array."""
    return np.array(values, np.int32)


def case(op_type: str, operands: list[Any], outputs: int = 1, name: str = "", **attributes: Any) -> Case:
    """A row whose float operands are all differentiated."""
    return Case(op_type, operands, attributes, domain="com.microsoft", outputs=outputs, name=name and f"{op_type}: {name}")


def split(x: Any, heads: int) -> Any:
    """[batch, length, heads · size] → [batch, heads, length, size]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def attended(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    """torch's attention of separate heads, put together again."""
    return functional.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True).transpose(1, 2).flatten(2)


def projected(x: Any, w: Any, bias: Any) -> Any:
    """Attention of onnxruntime without a mask."""
    return attended(*(split(t, HEADS) for t in (x @ w + bias).chunk(3, -1)))


WEIGHTS = [normal(WIDTH, 3 * WIDTH, seed=1) * 0.5, normal(3 * WIDTH, seed=2)]
UNEQUAL = [normal(WIDTH, 2 * WIDTH + 6, seed=1) * 0.5, normal(2 * WIDTH + 6, seed=2)]
PAST = normal(2, BATCH, HEADS, 2, SIZE, seed=3)
VISIBLE = int32([1, 1, 0], [1, 1, 1])
EACH_QUERY = np.tril(np.ones((BATCH, LENGTH, LENGTH), np.int32))
ADDED = normal(BATCH, HEADS, LENGTH, LENGTH, seed=4)

ATTENTION = [
    replace(case("Attention", [X, *WEIGHTS], num_heads=HEADS), torch=projected),
    replace(case("Attention", [X, WEIGHTS[0]], num_heads=HEADS, name="no bias"), torch=lambda x, w: projected(x, w, 0)),
    case("Attention", [X, *WEIGHTS], num_heads=HEADS, unidirectional=1, name="causal"),
    case("Attention", [X, *WEIGHTS], num_heads=HEADS, scale=0.3, name="scale"),
    case("Attention", [X, *UNEQUAL], num_heads=HEADS, qkv_hidden_sizes=[WIDTH, WIDTH, 6], name="short values"),
    case("Attention", [X, *WEIGHTS, VISIBLE], num_heads=HEADS, name="mask of keys"),
    case("Attention", [X, *WEIGHTS, VISIBLE], num_heads=HEADS, mask_filter_value=-2.0, name="weak mask"),
    case("Attention", [X, *WEIGHTS, int32(2, 3)], num_heads=HEADS, name="lengths"),
    case("Attention", [X, *WEIGHTS, int32(2, 3, 0, 1)], num_heads=HEADS, name="ends and starts"),
    case("Attention", [X, *WEIGHTS, EACH_QUERY], num_heads=HEADS, name="mask of every query"),
    case("Attention", [X, *WEIGHTS, None, None, ADDED], num_heads=HEADS, name="bias of scores"),
    case("Attention", [X, *WEIGHTS, VISIBLE, None, ADDED], num_heads=HEADS, unidirectional=1, name="all masks"),
    case("Attention", [X, *WEIGHTS, None, PAST], 2, num_heads=HEADS, name="past"),
    case("Attention", [X, *WEIGHTS, None, PAST], 2, num_heads=HEADS, unidirectional=1, name="past, causal"),
    replace(case("Attention", [X, *WEIGHTS, None, PAST], 2, num_heads=HEADS, name="present"), output=1, wanted=[0, 1, 2, 4]),
]

K3, V3 = normal(BATCH, TOTAL, WIDTH, seed=5), normal(BATCH, TOTAL, WIDTH, seed=6)
BIAS = normal(3 * WIDTH, seed=7)
PAST_K, PAST_V = normal(BATCH, HEADS, 2, SIZE, seed=8), normal(BATCH, HEADS, 2, SIZE, seed=9)
KEYS_SEEN = int32([1, 1, 1, 0, 0], [1, 1, 1, 1, 1])
SCORES = normal(BATCH, HEADS, LENGTH, TOTAL, seed=10)


def multi_head(q: Any, k: Any, v: Any, bias: Any = None) -> Any:
    """MultiHeadAttention of onnxruntime without a mask."""
    if bias is not None:
        q, k, v = (t + b for t, b in zip((q, k, v), bias.chunk(3), strict=True))
    return attended(*(split(t, HEADS) for t in (q, k, v)))


MULTI_HEAD = [
    replace(case("MultiHeadAttention", [X, K3, V3], num_heads=HEADS), torch=multi_head),
    replace(case("MultiHeadAttention", [X, K3, V3, BIAS], num_heads=HEADS, name="bias"), torch=multi_head),
    case("MultiHeadAttention", [X, K3, V3], num_heads=HEADS, scale=0.3, name="scale"),
    case("MultiHeadAttention", [X, K3[:, :3], V3[:, :3]], num_heads=HEADS, unidirectional=1, name="causal"),
    case("MultiHeadAttention", [X, K3, V3, None, KEYS_SEEN], num_heads=HEADS, name="mask of keys"),
    case("MultiHeadAttention", [X, K3, V3, None, int32(3, 5)], num_heads=HEADS, name="lengths"),
    case("MultiHeadAttention", [X, K3, V3, None, None, SCORES], num_heads=HEADS, name="bias of scores"),
    case("MultiHeadAttention", [X, K3, V3, BIAS, KEYS_SEEN, SCORES[:1]], num_heads=HEADS, name="all masks"),
    case("MultiHeadAttention", [X, K3[:, :3], V3[:, :3], None, None, None, PAST_K, PAST_V], 3, num_heads=HEADS, name="past"),
    case("MultiHeadAttention", [X, normal(BATCH, HEADS, TOTAL, SIZE), normal(BATCH, HEADS, TOTAL, SIZE, seed=1)],
         num_heads=HEADS, name="keys with heads"),
    case("MultiHeadAttention", [X, normal(BATCH, HEADS, TOTAL, SIZE), normal(BATCH, HEADS, TOTAL, SIZE, seed=1), BIAS],
         num_heads=HEADS, name="keys with heads, bias"),
]  # fmt: skip

KV_HEADS, GROUP_SIZE = 2, 16
Q8 = normal(BATCH, LENGTH, 4 * GROUP_SIZE)
KV = [normal(BATCH, LENGTH, KV_HEADS * GROUP_SIZE, seed=s) for s in (1, 2)]
CACHE = [normal(BATCH, KV_HEADS, 4, GROUP_SIZE, seed=s) for s in (3, 4)]
ANGLES = np.arange(8)[:, None] * np.array([0.9, 0.2, 0.5, 0.1])
TURN = [np.cos(ANGLES), np.sin(ANGLES)]
TURN16 = [np.concatenate([t, t], axis=1) for t in TURN]
PROMPT = [None, None, int32(LENGTH - 1, LENGTH - 1), np.array(LENGTH, np.int32)]
ONE = [Q8[:, :1], KV[0][:, :1], KV[1][:, :1]]
DECODE = [*CACHE, int32(4, 2), np.array(5, np.int32)]
"""One new token behind 4 and 2 cached ones."""
GROUPS = {"num_heads": 4, "kv_num_heads": KV_HEADS}


def grouped(q: Any, k: Any, v: Any, *_: Any) -> Any:
    """GroupQueryAttention of a prompt."""
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    return attended(split(q, 4), split(k, KV_HEADS), split(v, KV_HEADS), mask)


GROUP_QUERY = [
    replace(case("GroupQueryAttention", [Q8, *KV, *PROMPT], 3, "prompt", **GROUPS), torch=grouped),
    case("GroupQueryAttention", [Q8, *KV, *PROMPT], 3, "scale", scale=0.3, **GROUPS),
    case("GroupQueryAttention", [Q8, *KV, *PROMPT], 3, "softcap", softcap=1.5, **GROUPS),
    case("GroupQueryAttention", [Q8, *KV, *PROMPT], 3, "window", local_window_size=2, **GROUPS),
    case("GroupQueryAttention", [np.concatenate([Q8, *KV], 2), None, None, *PROMPT], 3, "packed", **GROUPS),
    case("GroupQueryAttention", [Q8, *KV, *PROMPT, *TURN16], 3, "rotary", do_rotary=1, **GROUPS),
    case(
        "GroupQueryAttention", [Q8, *KV, *PROMPT, *TURN16], 3, "rotary, interleaved", do_rotary=1, rotary_interleaved=1, **GROUPS
    ),
    case("GroupQueryAttention", [*ONE, *DECODE], 3, "one more token", **GROUPS),
    case("GroupQueryAttention", [*ONE, *DECODE, *TURN16], 3, "one more token, rotary", do_rotary=1, **GROUPS),
    case("GroupQueryAttention", [Q8, *KV, None, None, int32(1, 2), np.array(LENGTH, np.int32)], 3, "short prompt", **GROUPS),
]

X4 = normal(BATCH, HEADS, LENGTH, SIZE)
ROTARY = [
    case("RotaryEmbedding", [X, np.array([[0, 3, 2], [6, 1, 1]]), *TURN], num_heads=HEADS, name="positions"),
    case("RotaryEmbedding", [X, np.array([[0, 3, 2], [6, 1, 1]]), *TURN], name="heads from the cache"),
    case("RotaryEmbedding", [X, np.array([2]), *TURN], name="first position"),
    case("RotaryEmbedding", [X4, np.array([2]), *TURN], interleaved=1, name="four axes"),
    case("RotaryEmbedding", [normal(BATCH, LENGTH, HEADS * 12), np.array([0]), *TURN], num_heads=HEADS,
         rotary_embedding_dim=8, name="partial"),
]  # fmt: skip

ROWS = [*ATTENTION, *MULTI_HEAD, *GROUP_QUERY, *ROTARY]


def _wanted(row: Case) -> Case:
    """Without the rotary tables, which their kernels read as constants."""
    turned = {"RotaryEmbedding": (2, 3), "GroupQueryAttention": (7, 8)}.get(row.op_type, ())
    floats = [i for i, o in enumerate(row.operands) if o is not None and np.asarray(o).dtype.kind == "f" and i not in turned]
    return row if row.wanted is not None else replace(row, wanted=floats)


@pytest.mark.parametrize("row", [_wanted(row) for row in ROWS], ids=str)
def test_gradient(row: Case) -> None:
    """The gradient is the slope of what onnxruntime computes."""
    _, gradients, seed = emitted(row)
    for operand, gradient in gradients.items():
        np.testing.assert_allclose(gradient, difference(row, operand, seed), rtol=5e-3, atol=2e-3, err_msg=f"operand {operand}")


@pytest.mark.parametrize("row", [_wanted(row) for row in ROWS if row.torch is not None], ids=str)
def test_gradient_is_torchs(row: Case) -> None:
    """The same by torch, whose float64 allows a narrower tolerance."""
    check(replace(row, finite_differences=False))
