"""Operators of com.microsoft that have a body: those that ONNX has in another form, and fused ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.autograd.harness import Case, check, emitted
from tests.autograd.rows import both, ints, normal
from tests.autograd.test_ml import difference


def case(op_type: str, operands: list[Any], like: Any = None, outputs: int = 1, output: int = 0, **attributes: Any) -> Case:
    """A row; onnxruntime has these kernels in float32 only, so torch and slopes of onnxruntime are the truths."""
    return Case(op_type, operands, attributes, torch=like, domain="com.microsoft", outputs=outputs, output=output,
                finite_differences=False)  # fmt: skip


def sampled(mode: str, padding: str, corners: int) -> Any:
    """torch's grid_sample."""
    return lambda x, grid: functional.grid_sample(x, grid, mode, padding, bool(corners))


IMAGE, GRID = normal(1, 2, 4, 5), np.random.default_rng(20).uniform(-0.8, 0.8, (1, 2, 3, 2))
SAMPLES = [
    case("GridSample", [IMAGE, GRID], sampled(m, p, c), mode=m, padding_mode=p, align_corners=c)
    for m, p, c in [("bilinear", "zeros", 0), ("bilinear", "border", 1), ("bicubic", "reflection", 1)]
]
SAMPLES += [replace(case("GridSample", [IMAGE, GRID], sampled("nearest", "zeros", 0), mode="nearest"), wanted=[0])]

MOVED = [
    case("GatherND", [normal(2, 3, 4), np.array([[0, 1], [1, 2], [0, 1]], np.int32)], lambda x, i: x[i[:, 0], i[:, 1]]),
    case("Pad", [normal(2, 3), ints(1, 0, 0, 2)], lambda x, _: functional.pad(x, (0, 2, 1, 0))),
    case("Pad", [normal(2, 3), ints(1, 0, 0, 2), np.array([0.5])], lambda x, _, v: _bordered(x, v)),
    case("Pad", [normal(3, 3), np.array([[1, 0, 0, 2]])], None, mode="reflect"),
    case("Pad", [normal(3, 3), ints(1, 0, 0, 2)], None, mode="edge"),
    case("Trilu", [normal(3, 4)], torch.triu),
    case("Trilu", [normal(2, 3, 4), np.array(-1)], lambda x, _: x.tril(-1), upper=0),
    case("UnfoldTensor", [normal(2, 6)], lambda x: x.unfold(-1, 3, 2), size=3, step=2),
    case("UnfoldTensor", [normal(5, 2)], lambda x: x.unfold(0, 2, 1), size=2, dim=0),
    case("Unique", [normal(5)], torch.clone, outputs=3),
    case("ExpandDims", [normal(2, 3), np.array(-1, np.int32)], lambda x, _: x[..., None]),
    case("ExpandDims", [normal(2, 3), np.array(1, np.int32)], lambda x, _: x[:, None]),
]


def _bordered(x: Any, value: Any) -> Any:
    mask = torch.ones(3, 5)
    mask[1:, :3] = 0
    return functional.pad(x, (0, 2, 1, 0)) + value * mask


ALGEBRA = [
    case("Inverse", [normal(2, 3, 3) + 3 * np.eye(3)], torch.inverse),
    case("CDist", [normal(3, 4), normal(2, 4, seed=1)], torch.cdist, metric="euclidean"),
    case("CDist", [normal(3, 4), normal(2, 4, seed=1)], lambda a, b: torch.cdist(a, b) ** 2, metric="sqeuclidean"),
]

ROWS, SCALE = normal(2, 3, 4), normal(4, seed=1)


def root_mean_square(x: Any) -> Any:
    """x over its root mean square along the last axis."""
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


FUSED = [
    case("ScaledSiLU", [ROWS], lambda x: functional.silu(1.5 * x), alpha=1.5),
    case("ScaledSiLU", [ROWS, np.array(0.7)], lambda x, s: functional.silu(s * x)),
    case("GatedAdd", [ROWS, normal(2, 3, 4, seed=1), normal(2, 3, 1)], lambda x, y, g: x + y * g),
    case("GatedRMSNorm", [ROWS, SCALE, normal(2, 3, 4, seed=2)],
         lambda x, s, z: root_mean_square(x) * s * functional.silu(z)),
    case("GatedRMSNorm", [ROWS, SCALE[:2], normal(2, 3, 4, seed=2)],
         lambda x, s, z: (root_mean_square(x.unflatten(-1, (2, 2))) * s).flatten(-2) * torch.sigmoid(z), activation="sigmoid"),
    case("BranchwiseRMSNorm", [ROWS], root_mean_square),
    case("BranchwiseRMSNorm", [ROWS, SCALE], lambda x, s: root_mean_square(x) * s),
    case("BranchwiseRMSNorm", [ROWS, normal(3, 4)], lambda x, s: root_mean_square(x) * s),
    case("BranchwiseRMSNorm", [ROWS, normal(12)], lambda x, s: root_mean_square(x) * s.unflatten(0, (3, 4))),
    case("BranchwiseRMSNorm", [normal(2, 6), normal(6, seed=1)],
         lambda x, s: (root_mean_square(x.unflatten(-1, (2, 3))) * s.unflatten(0, (2, 3))).flatten(-2), num_branches=2),
    case("BranchwiseRMSNorm", [normal(2, 6), normal(3, seed=1)],
         lambda x, s: (root_mean_square(x.unflatten(-1, (2, 3))) * s).flatten(-2), num_branches=2),
    case("LinearAttentionGate", [ROWS, SCALE, -np.abs(SCALE)], lambda a, b, s: s * functional.softplus(a + b)),
    replace(case("LinearAttentionGate", [ROWS, SCALE, -np.abs(SCALE), normal(2, 3, 4, seed=3)],
                 lambda a, b, s, c: torch.sigmoid(c), outputs=2, output=1), wanted=[3]),  # noqa: ARG005
]  # fmt: skip


@pytest.mark.parametrize("row", [*both(*SAMPLES, *MOVED, *ALGEBRA), *FUSED], ids=str)
def test_gradient(row: Case) -> None:
    """The gradient is torch's, and the slope of what onnxruntime computes."""
    if row.torch is not None:
        check(row)
    _, gradients, seed = emitted(row)
    for operand, gradient in gradients.items():
        np.testing.assert_allclose(gradient, difference(row, operand, seed), rtol=5e-3, atol=2e-3)


def test_no_distance_has_no_slope() -> None:
    """The euclidean distance of a row to itself has a corner there; its derivative is 0, and not 0/0."""
    x = normal(2, 3)
    _, gradients, _ = emitted(case("CDist", [x, x[:1]], metric="euclidean"))
    assert np.isfinite(gradients[0]).all()
    np.testing.assert_array_equal(gradients[0][0], 0)


WORDS, SEGMENTS = np.array([[1, 0, 3], [2, 2, 4]], np.int32), np.array([[0, 0, 1], [1, 1, 0]], np.int32)
TABLES = [normal(5, 4), normal(6, 4, seed=1), normal(2, 4, seed=2), normal(4, seed=3), normal(4, seed=4)]
PLACES, SEEN = np.array([[2, 0, 5]], np.int32), np.array([[1, 1, 0], [1, 1, 1]], np.int32)


def embedded(ids: Any, segments: Any, words: Any, places: Any, kinds: Any, gamma: Any, beta: Any, *more: Any) -> Any:
    """BERT's embeddings, Devlin et al. 2019, figure 2, normalised."""
    total = words[ids.long()] + (places[more[1].long()] if len(more) > 1 else places[: ids.shape[1]])
    total = total if segments is None else total + kinds[segments.long()]
    return functional.layer_norm(total, (4,), gamma, beta, 1e-12)


EMBEDDINGS = [
    case("EmbedLayerNormalization", [WORDS, SEGMENTS, *TABLES], embedded, outputs=2),
    case("EmbedLayerNormalization", [WORDS, None, *TABLES[:2], None, *TABLES[3:], SEEN], embedded, outputs=3),
    case("EmbedLayerNormalization", [WORDS, SEGMENTS, *TABLES, SEEN, PLACES], embedded, outputs=3),
]


@pytest.mark.parametrize("row", EMBEDDINGS, ids=str)
def test_embeddings(row: Case) -> None:
    """Every row of a table gets what arrives wherever it was looked up."""
    check(row)


B, T, Q_HEADS, KV_HEADS, K_SIZE, V_SIZE = 2, 4, 4, 2, 3, 2
QUERY, KEY = normal(B, T, Q_HEADS * K_SIZE) / 2, normal(B, T, KV_HEADS * K_SIZE, seed=1) / 2
VALUE, STATE = normal(B, T, KV_HEADS * V_SIZE, seed=2), normal(B, KV_HEADS, K_SIZE, V_SIZE, seed=3)
DECAY, UPDATE = -np.abs(normal(B, T, KV_HEADS)), np.abs(normal(B, T, KV_HEADS, seed=4)) / 2
NUMBERS = {"q_num_heads": Q_HEADS, "kv_num_heads": KV_HEADS}


def recurrent(rule: str, output: int = 0) -> Any:
    """The recurrences of onnxruntime's LinearAttention, step by step."""

    def run(q: Any, k: Any, v: Any, state: Any, decay: Any = None, beta: Any = None) -> Any:
        q, k, v = (t.unflatten(2, (-1, size)) for t, size in ((q, K_SIZE), (k, K_SIZE), (v, V_SIZE)))
        results = []
        for t in range(T):
            if "gated" in rule:
                state = decay[:, t, :, None, None].exp() * state
            gain = v[:, t]
            if "delta" in rule:
                gain = beta[:, t, :, None] * (gain - torch.einsum("bhk,bhkv->bhv", k[:, t], state))
            state = state + k[:, t, :, :, None] * gain[:, :, None]
            shared = state.repeat_interleave(Q_HEADS // KV_HEADS, 1)
            results.append(torch.einsum("bhk,bhkv->bhv", q[:, t], shared).flatten(1) / K_SIZE**0.5)
        return (torch.stack(results, 1), state)[output]

    return run


LINEAR = [
    case("LinearAttention", [QUERY, KEY, VALUE, STATE], recurrent("linear"), 2, update_rule="linear", **NUMBERS),
    case("LinearAttention", [QUERY, KEY, VALUE, STATE, DECAY], recurrent("gated"), 2, update_rule="gated", **NUMBERS),
    case("LinearAttention", [QUERY, KEY, VALUE, STATE, None, UPDATE], recurrent("delta"), 2, update_rule="delta", **NUMBERS),
    case("LinearAttention", [QUERY, KEY, VALUE, STATE, DECAY, UPDATE], recurrent("gated_delta"), 2, **NUMBERS),
    replace(case("LinearAttention", [QUERY, KEY, VALUE, STATE, DECAY, UPDATE], recurrent("gated_delta", 1), 2, 1, **NUMBERS),
            wanted=[1, 2, 3, 4, 5]),
]  # fmt: skip

SIGNAL, KERNEL, HISTORY = normal(2, 3, 5), normal(3, 1, 4, seed=1), normal(2, 3, 3, seed=2)


def causal(x: Any, w: Any, b: Any = None, past: Any = None) -> Any:
    """A convolution of every channel by itself that sees the past only."""
    return functional.conv1d(torch.cat((past, x), 2) if past is not None else functional.pad(x, (3, 0)), w, b, groups=3)


CAUSAL = [
    case("CausalConvWithState", [SIGNAL, KERNEL], causal, 2),
    case("CausalConvWithState", [SIGNAL, KERNEL, normal(3), HISTORY], causal, 2),
    case("CausalConvWithState", [SIGNAL, KERNEL, normal(3), HISTORY], lambda *a: functional.silu(causal(*a)), 2,
         activation="silu"),
    replace(case("CausalConvWithState", [SIGNAL, KERNEL, None, HISTORY], lambda x, w, b, p: torch.cat((p, x), 2)[:, :, -3:],  # noqa: ARG005
                 2, 1), wanted=[0]),
]  # fmt: skip


@pytest.mark.parametrize("row", LINEAR + CAUSAL, ids=str)
def test_recurrences(row: Case) -> None:
    """Attention without a softmax, and convolutions that carry a state, are those of torch step by step."""
    check(row)
    _, gradients, seed = emitted(row)
    for operand, gradient in gradients.items():
        np.testing.assert_allclose(gradient, difference(row, operand, seed), rtol=5e-3, atol=2e-3)
