"""DeepLIFT against the paper's formulas in dense form, and every multiplier against its axioms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort
import pytest

import explainsvc
from tests import models
from tests.methods import dense
from tests.methods.dense import Layer
from tests.models import Array, numbers

METHODS = ["deeplift", "deeplift_reveal_cancel"]
NEAR = 1e-7
MLP, CNN = explainsvc.load(models.mlp()), explainsvc.load(models.cnn())
Function = Callable[[Array], Array]


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return np.maximum(z, 0)


def rescale(f: Function, slope: Function, z: Array, z0: Array) -> Array:
    """Δy/Δx, the derivative where |Δx| < 1e-7 (section 3.5.2)."""
    d = z - z0
    return np.where(np.abs(d) < NEAR, slope(z), (f(z) - f(z0)) / np.where(d == 0, 1, d))


def mlp_layers() -> list[Layer]:
    """The dense layers of ``models.mlp``."""
    w = [models.weights("w1", 8, 6).T, models.weights("w2", 8, 7), models.weights("w3", 7, 3)]
    return [dense.dense(a, models.weights(f"b{i}", a.shape[1])) for i, a in enumerate(w, start=1)]


def forward(layers: Sequence[Layer], f: Function, x: Array) -> tuple[list[Array], list[Array]]:
    """What goes into every layer, and what comes out of it."""
    entering, leaving = [x.astype(np.float64)], []
    for layer in layers:
        leaving.append(layer(entering[-1]))
        entering.append(f(leaving[-1]))
    return entering[: len(layers)], leaving


def dense_rescale(layers: Sequence[Layer], f: Function, slope: Function, x: Array, x0: Array, target: int) -> Array:
    """C = m Δx by the chain rule (equation 3), element by element in matrices."""
    _, z = forward(layers, f, x)
    _, z0 = forward(layers, f, x0)
    m = np.eye(layers[-1].w.shape[1])[target]
    for k in reversed(range(len(layers))):
        m = layers[k].w @ m
        if k > 0:
            m = m * rescale(f, slope, z[k - 1], z0[k - 1])
    return np.asarray((x.astype(np.float64) - x0) * m)


def dense_reveal_cancel(layers: Sequence[Layer], f: Function, slope: Function, x: Array, x0: Array, target: int) -> Array:
    """The same with Δx⁺ and Δx⁻ at every pre-activation (sections 3.5.1 and 3.5.3), one weight after the other."""
    a, z = forward(layers, f, x)
    a0, z0 = forward(layers, f, x0)
    m_plus = m_minus = np.eye(layers[-1].w.shape[1])[target]
    for k in reversed(range(len(layers))):
        layer, difference = layers[k], a[k] - a0[k]
        m = np.zeros(len(difference))
        for i, j in np.ndindex(*layer.w.shape):
            sign = np.sign(layer.w[i, j] * difference[i])
            m[i] += layer.w[i, j] * {1: m_plus[j], -1: m_minus[j], 0: (m_plus[j] + m_minus[j]) / 2}[int(sign)]
        if k > 0:
            parts = (a[k - 1] - a0[k - 1])[:, None] * layers[k - 1].w
            plus, minus, start = relu(parts).sum(axis=0), -relu(-parts).sum(axis=0), z0[k - 1]
            y_plus = (f(start + plus) - f(start) + f(start + plus + minus) - f(start + minus)) / 2
            y_minus = (f(start + minus) - f(start) + f(start + plus + minus) - f(start + plus)) / 2
            near = slope(z[k - 1])
            m_plus, m_minus = (
                m * np.where(np.abs(part) < NEAR, near, rise / np.where(part == 0, 1, part))
                for part, rise in ((plus, y_plus), (minus, y_minus))
            )
    return np.asarray((x.astype(np.float64) - x0) * m)


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "Relu": (relu, lambda z: (z > 0) * 1.0),
    "Tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "Sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "Softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rescale_is_the_papers_formula(activation: str) -> None:
    """On a three-layer perceptron every element equals the chain of matrices and difference quotients."""
    x, x0 = numbers(3, 6), numbers(3, 6, seed=1)
    model = explainsvc.load(models.mlp(activation=activation))
    found = model.explain({"x": x}, "deeplift", target=[0, 1, 2], baseline=x0).values["x"]
    expected = [dense_rescale(mlp_layers(), *ACTIVATIONS[activation], x[k], x0[k], k) for k in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reveal_cancel_is_the_papers_formula(activation: str) -> None:
    """The same with the positive and the negative contributions to every neuron apart, weight by weight."""
    x, x0 = numbers(3, 6), numbers(3, 6, seed=1)
    model = explainsvc.load(models.mlp(activation=activation))
    found = model.explain({"x": x}, "deeplift_reveal_cancel", target=[0, 1, 2], baseline=x0).values["x"]
    expected = [dense_reveal_cancel(mlp_layers(), *ACTIVATIONS[activation], x[k], x0[k], k) for k in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


CONVOLUTION = """g (float[N, 2, 5, 4] x) => (float[N, 3] y) {
  c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)  r = Relu (c)  d = Conv <pads = [1, 1, 1, 1]> (r, w2, b2)  s = Relu (d)
  f = Flatten (s)  y = Gemm (f, w3, b3)
}"""


def convolutions() -> tuple[explainsvc.Model, list[Layer]]:
    """Two convolutions and a dense layer, as a model and as matrices."""
    w1, w2, w3 = models.weights("w1", 3, 2, 3, 3), models.weights("w2", 2, 3, 3, 3), models.weights("w3", 40, 3)
    b = [models.weights(f"b{i}", n) for i, n in enumerate((3, 2, 3), start=1)]
    tensors = {"w1": w1, "w2": w2, "w3": w3} | {f"b{i}": a for i, a in enumerate(b, start=1)}
    layers = [dense.convolution(w1, b[0], 5, 4, 1), dense.convolution(w2, b[1], 5, 4, 1), dense.dense(w3, b[2])]
    return explainsvc.load(models.build(CONVOLUTION, tensors)), layers


@pytest.mark.parametrize("method", METHODS)
def test_convolutions_are_the_papers_formula(method: str) -> None:
    """Two convolutions with padding, written as matrices: every pixel equals them."""
    model, layers = convolutions()
    x, x0 = numbers(1, 2, 5, 4), numbers(1, 2, 5, 4, seed=2)
    found = model.explain({"x": x}, method, target=1, baseline=x0).values["x"].reshape(-1)
    flat, flat0 = x.reshape(-1), x0.reshape(-1)
    formula = dense_rescale if method == "deeplift" else dense_reveal_cancel
    expected = formula(layers, *ACTIVATIONS["Relu"], flat, flat0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


MINIMUM = "g (float[N, 2] x) => (float[N, 1] y) { h = Gemm (x, w, b)  r = Relu (h)  y = Gemm (r, v) }"
"""min(x₀, x₁) = x₀ − relu(x₀ − x₁), x₀ by two ReLUs (section 3.5.3, figure 4)."""


@pytest.mark.parametrize(("method", "expected"), [("deeplift", [2.0, 0.0]), ("deeplift_reveal_cancel", [1.0, 1.0])])
def test_reveal_cancel_shares_a_minimum_evenly(method: str, expected: list[float]) -> None:
    """Of min(2, 5) rescale gives all to one input and RevealCancel half to each: the paper's figure 4."""
    tensors = {"w": np.array([[1, 1], [0, -1]], np.float32), "b": np.zeros(2, np.float32), "v": np.array([[1], [-1]], np.float32)}
    model = explainsvc.load(models.build(MINIMUM, tensors))
    found = model.explain({"x": np.array([[2, 5]], np.float32)}, method).values["x"]
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_saturation_is_seen() -> None:
    """y = 1 − relu(1 − x₀ − x₁) at (1, 1) has no gradient; DeepLIFT gives each input a half (section 2.1, figure 1)."""
    text = "g (float[N, 2] x) => (float[N, 1] y) { h = Gemm (x, w, b)  r = Relu (h)  y = Sub (b, r) }"
    model = explainsvc.load(models.build(text, {"w": np.array([[-1], [-1]], np.float32), "b": np.array([1], np.float32)}))
    x = np.ones((1, 2), np.float32)
    assert not model.explain({"x": x}).values["x"].any()
    for method in METHODS:
        np.testing.assert_allclose(model.explain({"x": x}, method).values["x"], [[0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, "deep_shap"])
def test_a_frozen_batch_is_run_item_by_item(method: str) -> None:
    """A model exported for one item, asked for three, each with its own baseline: what each gets alone."""
    x, x0 = numbers(3, 2, 8, 8), numbers(3, 2, 8, 8, seed=5)
    frozen = explainsvc.load(models.cnn(batch="1")).explain({"x": x}, method, target=1, baseline=x0)
    alone = [CNN.explain({"x": x[k : k + 1]}, method, target=1, baseline=x0[k : k + 1]).values["x"][0] for k in range(3)]
    np.testing.assert_allclose(frozen.values["x"], alone, rtol=1e-4, atol=1e-6)


def test_two_inputs_have_their_baselines() -> None:
    """Inputs explained together sum to the difference; one explained alone keeps the other at its value."""
    model = explainsvc.load(models.two_by_two())
    feeds = {"a": numbers(3, 3), "b": numbers(3, 2)}
    both = model.explain(feeds, "deeplift", target=0, baseline={"a": 0.5, "b": "mean"})
    np.testing.assert_allclose(both.residual, 0, atol=1e-6)
    one = model.explain(feeds, "deeplift", target=0, inputs=["b"], baseline=1.0)
    np.testing.assert_allclose(one.baseline_value, model.predict({"a": feeds["a"], "b": np.ones_like(feeds["b"])})["p"][:, 0])
    np.testing.assert_allclose(one.residual, 0, atol=1e-6)


def test_an_input_that_items_share_has_one_baseline() -> None:
    """A factor of all items: the residual is over all of them."""
    model = explainsvc.load(models.scaled())
    found = model.explain({"x": numbers(3, 3), "k": np.array([1.5], np.float32)}, "deeplift", target=1, baseline=0.25)
    assert found.values["k"].shape == (1,)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, np.zeros(1), atol=1e-4)


def test_the_compiled_graph_takes_the_baseline() -> None:
    """One file serves every baseline: explain.baseline.<input> has the input's shape, and any onnxruntime runs it."""
    proto = MLP.compile("deeplift", {"output": "y"}).proto
    assert [i.name for i in proto.graph.input] == ["x", "explain.seed", "explain.baseline.x"]
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x, seed = numbers(2, 6), np.eye(3, dtype=np.float32)[[2, 0]]
    for x0 in (np.zeros_like(x), numbers(2, 6, seed=4)):
        y, found = session.run(None, {"x": x, "explain.seed": seed, "explain.baseline.x": x0})
        np.testing.assert_allclose(y, MLP.predict({"x": x})["y"], rtol=1e-5)
        np.testing.assert_allclose(found, MLP.explain({"x": x}, "deeplift", target=[2, 0], baseline=x0).values["x"], rtol=1e-6)
