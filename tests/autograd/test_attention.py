"""Gradients of attention and rotary embeddings, through the bodies that define these operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch.nn import functional

from explainsvc.autograd.differentiate import differentiate
from explainsvc.autograd.functions import expand_functions
from explainsvc.errors import NotDifferentiable
from explainsvc.graph.passes import prepare
from explainsvc.runtime import new_session
from tests.autograd.harness import Case, build, check
from tests.autograd.rows import both, ints, normal

BATCH, HEADS, QUERIES, KEYS, SIZE = 2, 4, 3, 5, 2
Q = normal(BATCH, HEADS, QUERIES, SIZE)
K, V = normal(BATCH, HEADS, KEYS, SIZE, seed=1), normal(BATCH, HEADS, KEYS, SIZE, seed=2)
FEW_K, FEW_V = normal(BATCH, 2, KEYS, SIZE, seed=1), normal(BATCH, 2, KEYS, 3, seed=2)
PAST_K, PAST_V = normal(BATCH, HEADS, 2, SIZE, seed=3), normal(BATCH, HEADS, 2, SIZE, seed=4)
MASK = normal(QUERIES, KEYS, seed=5)
BOOLS = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])
"""The second query sees nothing: its result and its gradient are zero."""

Truth = Callable[..., Any]


def sdpa(**options: Any) -> Truth:
    """torch's attention of q, k, v, mask."""

    def run(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True, **options)

    return run


def packed(inner: Truth, heads: int, kv_heads: int) -> Truth:
    """The same of [batch, length, heads · size]."""

    def split(x: Any, n: int) -> Any:
        return x.unflatten(2, (n, -1)).transpose(1, 2)

    def run(q: Any, k: Any, v: Any, *more: Any) -> Any:
        return inner(split(q, heads), split(k, kv_heads), split(v, kv_heads), *more).transpose(1, 2).flatten(2)

    return run


def cached(inner: Truth) -> Truth:
    """The same with earlier keys and values before the new ones."""

    def run(q: Any, k: Any, v: Any, mask: Any, past_k: Any, past_v: Any) -> Any:
        return inner(q, torch.cat((past_k, k), 2), torch.cat((past_v, v), 2), mask)

    return run


def triangle(offset: int, keys: int = KEYS) -> Any:
    """Which keys a query sees when there are ``offset`` keys before the first query."""
    return torch.ones(QUERIES, keys, dtype=torch.bool).tril(offset)


def scores(stage: int, softcap: float) -> Truth:
    """What ``qk_matmul_output_mode`` gives: raw scores, capped ones, those with the mask, probabilities."""

    def run(q: Any, k: Any, v: Any, mask: Any) -> Any:
        raw = q @ k.mT / SIZE**0.5
        capped = softcap * torch.tanh(raw / softcap)
        return (raw, capped, capped + mask, (capped + mask).softmax(-1))[stage]

    return run


def softcapped(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """Attention with scores capped at ±1.5."""
    return scores(3, 1.5)(q, k, v, mask) @ v


def valid_keys(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    """Attention to the first 5 keys of one sequence and the first 3 of the other."""
    seen = torch.arange(KEYS) < torch.tensor([5, 3])[:, None, None, None]
    return sdpa()(q, k, v, seen)


FLAT = [normal(BATCH, QUERIES, HEADS * SIZE), normal(BATCH, KEYS, 2 * SIZE, seed=1), normal(BATCH, KEYS, 2 * 3, seed=2)]
GIVEN_PAST = [Q, K, V, None, PAST_K, PAST_V]

ATTENTION = both(
    Case("Attention", [Q, K, V], torch=sdpa()),
    Case("Attention", [Q, FEW_K, FEW_V], {"scale": 0.3}, torch=sdpa(scale=0.3)),
    Case("Attention", FLAT, {"q_num_heads": HEADS, "kv_num_heads": 2}, torch=packed(sdpa(), HEADS, 2)),
    Case("Attention", [Q, K, V], {"is_causal": 1}, torch=lambda q, k, v: sdpa()(q, k, v, triangle(0))),
    Case("Attention", [Q, K, V, MASK], torch=sdpa()),
    Case("Attention", [Q, K, V, normal(BATCH, 1, QUERIES, KEYS)], torch=sdpa()),
    Case("Attention", [Q, K, V, BOOLS], torch=sdpa()),
    Case("Attention", [Q, K, V, MASK], {"softcap": 1.5}, torch=softcapped),
    Case("Attention", [Q, K, V, MASK], {"softmax_precision": 11}, torch=sdpa(), name="softmax in double"),
    Case("Attention", GIVEN_PAST, torch=cached(sdpa()), outputs=3),
    Case("Attention", GIVEN_PAST, {"is_causal": 1}, outputs=3, name="causal with past",
         torch=cached(lambda q, k, v, _: sdpa()(q, k, v, triangle(2, KEYS + 2)))),
    Case("Attention", GIVEN_PAST, torch=lambda q, k, v, m, pk, pv: torch.cat((pk, k), 2), outputs=3, output=1, wanted=[1, 4]),  # noqa: ARG005
    Case("Attention", GIVEN_PAST, torch=lambda q, k, v, m, pk, pv: torch.cat((pv, v), 2), outputs=3, output=2, wanted=[2, 5]),  # noqa: ARG005
    *(Case("Attention", [Q, K, V, MASK], {"qk_matmul_output_mode": mode, "softcap": 1.5}, outputs=4, output=3,
           wanted=[0, 1] if stage < 2 else [0, 1, 3], torch=scores(stage, 1.5), opset=24, name=f"scores of mode {mode}")
      for mode, stage in enumerate((0, 1, 2, 3))),
    Case("Attention", [Q, K, V, None, None, None, ints(5, 3)], torch=valid_keys, opset=24),
)  # fmt: skip

ANGLES = np.arange(7)[:, None] * np.array([0.9, 0.2])
CACHE = [np.cos(ANGLES) + 0.1, np.sin(ANGLES)]
PLACES = np.array([[0, 3, 2], [6, 1, 1]])


def rotary(x: Any, cos: Any, sin: Any, places: Any = None, interleaved: bool = False, size: int = 4) -> Any:
    """Su et al. 2021, equation 34, on [batch, heads, length, size]; only the first ``size`` channels turn."""
    cos, sin = ((c if places is None else c[places])[:, None] for c in (cos, sin))
    turned, rest = x[..., :size], x[..., size:]
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = (a * cos - b * sin, a * sin + b * cos)
    return torch.cat((torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1), rest), -1)


X4, X6 = normal(BATCH, HEADS, QUERIES, 4), normal(BATCH, HEADS, QUERIES, 6)
X3 = normal(BATCH, QUERIES, 2 * 4)
EACH = [c[PLACES] for c in CACHE]


def flat_rotary(x: Any, *cache: Any) -> Any:
    """The same of [batch, length, 2 heads · size]."""
    return rotary(x.unflatten(2, (2, -1)).transpose(1, 2), *cache).transpose(1, 2).flatten(2)


ROTARY = both(
    Case("RotaryEmbedding", [X4, *CACHE, PLACES], torch=rotary),
    Case("RotaryEmbedding", [X4, *CACHE, PLACES], {"interleaved": 1}, torch=lambda *a: rotary(*a, interleaved=True)),
    Case("RotaryEmbedding", [X6, *CACHE, PLACES], {"rotary_embedding_dim": 4}, torch=rotary),
    Case("RotaryEmbedding", [X6, *EACH], {"rotary_embedding_dim": 4, "interleaved": 1},
         torch=lambda *a: rotary(*a, interleaved=True)),
    Case("RotaryEmbedding", [X3, *CACHE, PLACES], {"num_heads": 2}, torch=flat_rotary),
    Case("RotaryEmbedding", [X3, *EACH], {"num_heads": 2}, torch=flat_rotary),
)  # fmt: skip


@pytest.mark.parametrize("case", [replace(c, opset=max(c.opset, 23)) for c in (*ATTENTION, *ROTARY)], ids=str)
def test_gradient(case: Case) -> None:
    """The gradient of every float operand is torch's and that of finite differences."""
    check(case)


def test_the_body_is_named_after_the_node() -> None:
    """Whoever reads the explained graph finds which node an operator comes from; the output keeps its name."""
    model = ir.from_proto(build(replace(ATTENTION[0], opset=23), np.float32))
    assert expand_functions(model)
    assert {node.name.split("/")[0] for node in model.graph if node.name} == {"it"}
    assert "Attention" not in {node.op_type for node in model.graph}
    assert [value.name for value in model.graph.outputs] == ["y0"]


def test_operators_with_a_rule_stay() -> None:
    """Gelu and Softmax are functions too, but the vjp table has them."""
    for op_type in ("Gelu", "Softmax"):
        assert not expand_functions(ir.from_proto(build(Case(op_type, [normal(2, 3)]), np.float32)))


def test_the_pass_is_verified_on_probes() -> None:
    """The expansion is one of the recorded passes, and its error is measured."""
    proto = build(replace(ATTENTION[0], opset=23), np.float32)
    record = next(p for p in prepare(proto, new_session(proto.SerializeToString())).passes if p.name == "expand_functions")
    assert record.applied
    assert record.error < 1e-5


def test_unknown_ranks_are_refused() -> None:
    """The body of Attention depends on the rank of the query; without it there is a refusal, not a guess."""
    proto = build(replace(ATTENTION[0], opset=23), np.float32)
    for value in proto.graph.input:
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(NotDifferentiable, match=r'"it" \(Attention\)'):
        differentiate(proto, ["x0"])
