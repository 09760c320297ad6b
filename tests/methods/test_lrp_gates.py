"""LRP of recurrent layers against the papers' rules, one step of one item at a time (Arras et al. 2017, LRP-all)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.errors import NotDifferentiable
from tests import models
from tests.methods import dense
from tests.models import Array, numbers

TINY = 1e-9
STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 4, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def sigmoid(a: Array) -> Array:
    """1 / (1 + e⁻ᵃ)."""
    return np.asarray(1 / (1 + np.exp(-a)))


def shares(parts: list[Array], r: Array, rest: Array | float = 0.0) -> list[Array]:
    """The ε-rule at an elementwise sum of ``parts`` and a bias ``rest``."""
    z = dense.signed(np.sum(parts, axis=0) + rest, TINY)
    return [part * r / z for part in parts]


def linear(parts: list[tuple[Array, Array]], bias: Array, r: Array) -> list[Array]:
    """The ε-rule at Σ_k v_k·W_kᵀ + b: relevance of every v_k."""
    z = dense.signed(np.sum([w @ v for v, w in parts], axis=0) + bias, TINY)
    return [(w * v * (r / z)[:, None]).sum(axis=0) for v, w in parts]


Back = Callable[[Array, Array], tuple[Array, Array, Array]]
"""(relevance of H and C after a step) → of x, H and C before it."""


def lstm(x: Array, h: Array, c: Array, w: Array, r: Array, b: Array, *_: Any) -> tuple[Array, Array, Back]:
    """One step, and its rule."""
    a = w @ x + r @ h + b
    i, o, f = (sigmoid(a[k * HIDDEN : (k + 1) * HIDDEN]) for k in range(3))
    new, own = np.tanh(a[3 * HIDDEN :]), slice(3 * HIDDEN, None)
    after = f * c + i * new

    def back(r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        old, proposed = shares([f * c, i * new], r_c + r_h)  # o takes nothing, tanh passes
        to_x, to_h = linear([(x, w[own]), (h, r[own])], b[own], proposed)
        return to_x, to_h, old

    return o * np.tanh(after), after, back


def gru(x: Array, h: Array, c: Array, w: Array, r: Array, b: Array, b_r: Array, later: bool) -> tuple[Array, Array, Back]:
    """One step, and its rule; ``later``: the reset gate comes after the product with R."""
    own = slice(2 * HIDDEN, None)
    z, reset = sigmoid(w[: 2 * HIDDEN] @ x + r[: 2 * HIDDEN] @ h + (b + b_r)[: 2 * HIDDEN]).reshape(2, HIDDEN)
    weights = reset[:, None] * r[own] if later else r[own] * reset
    bias = b[own] + (reset * b_r[own] if later else b_r[own])
    new = np.tanh(w[own] @ x + weights @ h + bias)

    def back(r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        proposed, old = shares([(1 - z) * new, z * h], r_h)
        to_x, to_h = linear([(x, w[own]), (h, weights)], bias, proposed)
        return to_x, to_h + old, r_c

    return (1 - z) * new + z * h, c, back


def rnn(x: Array, h: Array, c: Array, w: Array, r: Array, b: Array, *_: Any) -> tuple[Array, Array, Back]:
    """One step, and its rule."""

    def back(r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        return (*linear([(x, w), (h, r)], b, r_h), r_c)  # type: ignore[return-value]

    return np.tanh(w @ x + r @ h + b), c, back


def sequence(op: str, x: Array, state: tuple[Array, Array], weights: tuple[Array, ...], r: dict[str, Array], later: bool) -> Any:
    """Relevance of x [steps, WIDTH], H₀ and C₀ of one direction of one item, from that of Y, Y_h and Y_c."""
    w, r_w, b = (t.astype(np.float64) for t in weights)
    b_w, b_r = np.split(b, 2)
    (h, c), backs = state, []
    for step in x:
        cell: Any = {"LSTM": lstm, "GRU": gru, "RNN": rnn}[op]
        h, c, back = cell(step, h, c, w, r_w, b_w, b_r, later) if op == "GRU" else cell(step, h, c, w, r_w, b_w + b_r)
        backs.append(back)
    r_h, r_c, found = r["Y_h"], r["Y_c"], np.zeros_like(x)
    for t in reversed(range(len(x))):
        found[t], r_h, r_c = backs[t](r_h + r["Y"][t], r_c)
    return found, r_h, r_c


def recurrent(op: str, direction: str, lens: bool, bias: bool, **attributes: Any) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """x, h0 (c0) → one recurrent node → all its results; and its weights."""
    count = 2 if direction == "bidirectional" else 1
    size, states = GATES[op] * HIDDEN, ["h0", "c0"] if op == "LSTM" else ["h0"]
    tensors = {"w": models.weights("w", count, size, WIDTH), "r": models.weights("r", count, size, HIDDEN)}
    tensors["b"] = models.weights("b", count, 2 * size) * (1 if bias else 0)
    given = {"lens": np.array([5, 2, 4], np.int32)} if lens else {}
    results = {"Y": ["T", count, "N", HIDDEN]} | {f"Y_{s[0]}": [count, "N", HIDDEN] for s in states}
    operands = ["x", "w", "r", "b", "lens" if lens else "", *states]
    node = helper.make_node(op, operands, list(results), "cell", hidden_size=HIDDEN, direction=direction, **attributes)
    inputs = {"x": ["T", "N", WIDTH]} | {s: [count, "N", HIDDEN] for s in states}
    ends = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in e.items()] for e in (inputs, results))
    stored = [numpy_helper.from_array(array, name) for name, array in (tensors | given).items()]
    graph = helper.make_graph([node], "g", next(ends), next(ends), stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tensors | given


def fed(op: str, count: int) -> dict[str, Array]:
    """x and the initial states."""
    states = {"h0": 1, "c0": 2} if op == "LSTM" else {"h0": 1}
    return {"x": numbers(STEPS, BATCH, WIDTH)} | {s: numbers(count, BATCH, HIDDEN, seed=k) for s, k in states.items()}


CASES: dict[str, tuple[str, str, bool, dict[str, Any]]] = {
    "LSTM": ("LSTM", "forward", False, {}),
    "LSTM, both directions": ("LSTM", "bidirectional", False, {}),
    "LSTM, both directions of sequences of different length": ("LSTM", "bidirectional", True, {}),
    "GRU": ("GRU", "forward", False, {}),
    "GRU, reset after": ("GRU", "reverse", False, {"linear_before_reset": 1}),
    "GRU, both directions": ("GRU", "bidirectional", True, {"linear_before_reset": 1}),
    "GRU, reset before, lengths": ("GRU", "bidirectional", True, {}),
    "RNN": ("RNN", "bidirectional", True, {}),
}


@pytest.mark.parametrize(
    ("case", "output"), [(c, o) for c, (op, *_) in CASES.items() for o in ("Y", "Y_h", "Y_c") if o != "Y_c" or op == "LSTM"]
)
def test_a_recurrent_layer_by_the_papers_rules(case: str, output: str) -> None:
    """Relevance of x and of the initial states, from every result, with a random seed."""
    op, direction, lens, attributes = CASES[case]
    proto, given = recurrent(op, direction, lens, True, **attributes)
    model, count = explainsvc.load(proto), given["w"].shape[0]
    feeds = fed(op, count)
    y = model.predict(feeds)[output]
    seed = numbers(*y.shape, seed=3)
    start = (seed * y).astype(np.float64)
    found = model.explain(feeds, "cp_lrp", {"output": output, "seed": seed}, inputs=list(feeds)).values
    wanted = {name: np.zeros(v.shape) for name, v in feeds.items()}
    for k in range(BATCH):
        steps = int(given["lens"][k]) if lens else STEPS
        for d in range(count):
            order = slice(None, None, -1 if d == 1 or direction == "reverse" else 1)
            arriving = {"Y": np.zeros((steps, HIDDEN)), "Y_h": np.zeros(HIDDEN), "Y_c": np.zeros(HIDDEN)}
            arriving[output] = start[:steps, d, k][order] if output == "Y" else start[d, k]
            state = tuple(feeds[s][d, k].astype(float) if s in feeds else np.zeros(HIDDEN) for s in ("h0", "c0"))
            weights = tuple(given[n][d] for n in "wrb")
            x = feeds["x"][:steps, k].astype(np.float64)[order]
            r_x, r_h, r_c = sequence(op, x, state, weights, arriving, bool(attributes.get("linear_before_reset")))
            wanted["x"][:steps, k] += r_x[order]
            wanted["h0"][d, k] = r_h
            if op == "LSTM":
                wanted["c0"][d, k] = r_c
    for name, expected in wanted.items():
        np.testing.assert_allclose(found[name], expected, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_without_biases_all_relevance_arrives(case: str) -> None:
    """Σ R = S over x and the initial states; with biases ignored too."""
    op, direction, lens, attributes = CASES[case]
    for bias in (True, False):
        proto, given = recurrent(op, direction, lens, bias, **attributes)
        model, count = explainsvc.load(proto), given["w"].shape[0]
        feeds = fed(op, count)
        seed = np.ones_like(model.predict(feeds)["Y"])
        found = model.explain(feeds, "cp_lrp", {"output": "Y", "seed": seed}, inputs=list(feeds), bias="ignored")
        total = sum(np.abs(v).sum() for v in found.values.values())
        np.testing.assert_allclose(found.residual / total, 0, atol=1e-5)


SCANNED = """g (float[T, N, 4] x, float[N, 3] h0, float[N, 3] c0) => (float[N, 3] y) {
  y, last, all = Scan <num_scan_inputs = 1, body = step (float[N, 3] h, float[N, 3] c, float[N, 4] xt)
      => (float[N, 3] next, float[N, 3] after, float[N, 3] out) {
    xw = MatMul (xt, w)  hr = MatMul (h, r)  a = Add (xw, hr)  ai, ao, af, ac = Split <axis = 1> (a, widths)
    i = Sigmoid (ai)  o = Sigmoid (ao)  f = Sigmoid (af)  new = Tanh (ac)
    old = Mul (f, c)  gain = Mul (new, i)  after = Add (old, gain)  squashed = Tanh (after)  next = Mul (o, squashed)
    out = Identity (next)
  }> (h0, c0, x)
}"""


def test_a_cell_written_out_in_a_loop_is_the_operator() -> None:
    """An LSTM as MatMul, Sigmoid, Tanh, Mul and Add in the body of a Scan: sigmoids are the gates, as in the node."""
    w, r = models.weights("w", 1, 12, WIDTH), models.weights("r", 1, 12, HIDDEN)
    written = explainsvc.load(models.build(SCANNED, {"w": w[0].T, "r": r[0].T, "widths": np.full(4, 3)}))
    node = """g (float[T, N, 4] x, float[N, 3] h0, float[N, 3] c0) => (float[N, 3] y) {
      hs = Unsqueeze (h0, zero)  cs = Unsqueeze (c0, zero)  all, ys, last = LSTM <hidden_size = 3> (x, w, r, , , hs, cs)
      y = Squeeze (ys, zero)
    }"""
    operator = explainsvc.load(models.build(node, {"w": w, "r": r, "zero": np.array([0])}))
    feeds = {"x": numbers(STEPS, 2, WIDTH), "h0": numbers(2, HIDDEN), "c0": numbers(2, HIDDEN, seed=1)}
    target = {"output": "y", "seed": numbers(2, HIDDEN, seed=4)}
    one, other = (m.explain(feeds, "cp_lrp", target, inputs=list(feeds)).values for m in (written, operator))
    for name in feeds:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5)
        assert np.abs(one[name]).max() > 0.01


def test_attention_alone_does_not_say_what_a_recurrent_layer_does() -> None:
    """AttnLRP has no rule for one: refused by name."""
    proto, _ = recurrent("LSTM", "forward", False, True)
    feeds = {"x": numbers(2, 1, WIDTH), "h0": numbers(1, 1, HIDDEN), "c0": numbers(1, 1, HIDDEN)}
    with pytest.raises(NotDifferentiable, match="LSTM"):
        explainsvc.load(proto).explain(feeds, "attn_lrp", {"output": "Y_h", "index": (0, 0)}, inputs=["x"])
