"""PatternNet and PatternAttribution: the paper's moments as plain sums, and what patterns are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from tests import models
from tests.models import Array, numbers

METHODS = ["pattern_net", "pattern_attribution"]


def pattern_by_hand(x: Array, w: Array, b: Array, rectified: bool) -> Array:
    """Equations 5 and 7, neuron by neuron; x [rows, in], w [in, neurons]."""
    y = x @ w
    patterns = np.zeros_like(w)
    for j in range(w.shape[1]):
        keep = y[:, j] + b[j] > 0 if rectified else np.ones(len(x), bool)
        cov = (x[keep] * y[keep, j : j + 1]).mean(axis=0) - x[keep].mean(axis=0) * y[:, j].mean()
        patterns[:, j] = cov / (w[:, j] @ cov)
    return patterns


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gemm", [True, False])
def test_a_dense_network_follows_the_equations(method: str, gemm: bool) -> None:
    """Two layers, the first before a ReLU: patterns from plain means, the backward pass by matrices."""
    w1, b1, w2 = numbers(6, 5, seed=1), numbers(5, seed=2), numbers(5, 3, seed=3)
    text = "z = Gemm (x, w1, b1)" if gemm else "m = MatMul (x, w1)  z = Add (b1, m)"
    graph = f"g (float[N, 6] x) => (float[N, 3] y) {{ {text}  h = Relu (z)  y = MatMul (h, w2) }}"
    model = explainsvc.load(models.build(graph, {"w1": w1, "b1": b1, "w2": w2}))
    data, x = numbers(200, 6, seed=4), numbers(4, 6, seed=5)
    hidden = np.maximum(data @ w1 + b1, 0)
    a1, a2 = pattern_by_hand(data, w1, b1, True), pattern_by_hand(hidden, w2, np.zeros(3), False)
    back1, back2 = (a1, a2) if method == "pattern_net" else (w1 * a1, w2 * a2)
    target = [2, 0, 1, 1]
    active = x @ w1 + b1 > 0
    y = np.maximum(x @ w1 + b1, 0) @ w2
    expected = [(back1 @ (active[i] * back2[:, t])) * y[i, t] for i, t in enumerate(target)]
    for batch_size in (200, 64):
        found = model.explain({"x": x}, method, target, background=data, batch_size=batch_size).values["x"]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_a_convolution_has_one_pattern_for_all_positions() -> None:
    """The moments of a Conv are those of a dense layer on all its patches, zeros of the padding included."""
    w, b = numbers(3, 2, 3, 3, seed=1), numbers(3, seed=2)
    graph = "g (float[N, 2, 6, 6] x) => (float[N, 3, 3, 3] y) { y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b) }"
    model = explainsvc.load(models.build(graph, {"w": w, "b": b}))
    data, x = numbers(40, 2, 6, 6, seed=4), numbers(1, 2, 6, 6, seed=5)
    padded = np.pad(data, [(0, 0), (0, 0), (1, 1), (1, 1)])
    corners = [(r, c) for r in (0, 2, 4) for c in (0, 2, 4)]
    patches = np.concatenate([padded[:, :, r : r + 3, c : c + 3].reshape(40, -1) for r, c in corners])
    a = pattern_by_hand(patches, w.reshape(3, -1).T, b, False).T.reshape(w.shape)
    target = (2, 1, 1)
    found = model.explain({"x": x}, "pattern_net", target, background=data)
    expected = np.zeros((2, 6, 6))
    expected[:, 1:4, 1:4] = a[2] * found.output_value[0]
    np.testing.assert_allclose(found.values["x"][0], expected, rtol=2e-3, atol=1e-5)


def test_the_pattern_finds_the_signal_where_the_weight_filters_the_distractor() -> None:
    """x = y·(1, 0) + ε·(1, 1): the best weight is (1, −1), the pattern (1, 0) (the paper's figure 2)."""
    rng = np.random.default_rng(0)
    y, distractor = rng.standard_normal((2, 20_000, 1))
    data = (y * [1.0, 0.0] + distractor * [1.0, 1.0]).astype(np.float32)
    graph = "g (float[N, 2] x) => (float[N, 1] y) { y = MatMul (x, w) }"
    model = explainsvc.load(models.build(graph, {"w": np.array([[1.0], [-1.0]], np.float32)}))
    x = np.array([[3.0, 1.0]], np.float32)
    found = model.explain({"x": x}, "pattern_net", background=data).values["x"][0]
    np.testing.assert_allclose(found, [2.0, 0.0], atol=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_neurons_without_a_pattern_are_counted(method: str) -> None:
    """A neuron that the data never make positive has no pattern, and the caveat says how many."""
    w = np.eye(3, dtype=np.float32)
    graph = "g (float[N, 3] x) => (float[N, 3] y) { z = Gemm (x, w, b)  h = Relu (z)  y = MatMul (h, w) }"
    model = explainsvc.load(models.build(graph, {"w": w, "b": np.array([0, 0, -100], np.float32)}))
    found = model.explain({"x": np.ones((1, 3), np.float32)}, method, 0, background=numbers(50, 3))
    assert any(caveat.startswith("2 of 6 neurons have no pattern") for caveat in found.caveats)
    assert np.isfinite(found.values["x"]).all()


@pytest.mark.parametrize(
    "background", [None, np.zeros((1, 6), np.float32), np.zeros((5, 4), np.float32)], ids=["none", "one", "shape"]
)
def test_data_are_needed(background: Any) -> None:
    """Patterns are made of data: at least two rows of the input's shape."""
    model = explainsvc.load(models.mlp())
    with pytest.raises(InvalidParameter, match="background"):
        model.explain({"x": numbers(1, 6)}, "pattern_net", 0, background=background)


def test_sums_of_activations_are_refused() -> None:
    """By inspect, and by explain, naming the node."""
    model = explainsvc.load(models.cnn())
    assert "not defined for Add" in model.info.methods["pattern_net"]
    with pytest.raises(MethodNotApplicable, match="residual"):
        model.explain({"x": numbers(1, 2, 8, 8)}, "pattern_net", 0, background=numbers(9, 2, 8, 8))
