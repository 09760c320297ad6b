"""DeepLIFT against the paper's formulas in dense form, and every multiplier against its axioms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, NotDifferentiable
from tests import models
from tests.methods import dense
from tests.methods.deeplift_cases import CASES, DOUBLE
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


# Every multiplier ----------------------------------------------------------------------------------------------------


@cache
def subject(name: str) -> explainsvc.Model:
    """The model of a case."""
    return explainsvc.load(CASES[name].proto())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_contributions_sum_to_the_difference(name: str, method: str) -> None:
    """Σ m Δx = S(x) − S(x′) to 1e-9 in float64; S by plain onnxruntime; no value is NaN; the residual says so too."""
    case = CASES[name]
    x, x0 = case.feed(0), case.feed(1)
    found = subject(name).explain({"x": x}, method, baseline=x0)
    session = ort.InferenceSession(case.proto().SerializeToString(), providers=["CPUExecutionProvider"])
    gap = [np.subtract(*(session.run(None, {"x": a[k : k + 1]})[0][0, 0].astype(float) for a in (x, x0))) for k in range(2)]
    total = found.values["x"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, gap, rtol=case.tolerance, atol=case.tolerance * max(1.0, np.abs(gap).max()))
    np.testing.assert_allclose(found.residual, total - gap, atol=case.tolerance * max(1.0, np.abs(gap).max()))
    assert found.values["x"].dtype == case.dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_without_a_difference_there_is_nothing(name: str, method: str) -> None:
    """At x = x′ every value is exactly 0: no 0/0 comes through."""
    x = CASES[name].feed(0)
    found = subject(name).explain({"x": x}, method, baseline=x)
    assert not found.values["x"].any()
    assert not np.isnan(found.values["x"]).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_input_and_baseline_exchanged_change_the_sign(name: str, method: str) -> None:
    """What x has over x′ is what x′ lacks: no rule prefers one side, where differences are not tiny."""
    case = CASES[name]
    x, x0 = case.feed(0), case.feed(1)
    there, back = (subject(name).explain({"x": a}, method, baseline=b).values["x"] for a, b in ((x, x0), (x0, x)))
    np.testing.assert_allclose(there, -back, rtol=0, atol=case.tolerance * np.abs(there).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.single and n not in DOUBLE.split()[-4:]])
def test_multipliers_tend_to_the_derivative(name: str, method: str) -> None:
    """With x′ near x a value is the gradient times the difference, for differences both above and below 1e-7."""
    x = CASES[name].feed(0)
    gradient = subject(name).explain({"x": x}).values["x"]
    for step in (1e-5, 1e-9):
        x0 = x - step
        found = subject(name).explain({"x": x}, method, baseline=x0).values["x"] / (x - x0)
        np.testing.assert_allclose(found, gradient, rtol=0, atol=(100 * step + 1e-6) * np.abs(gradient).max())


def test_linear_models_give_weight_times_difference() -> None:
    """w (x − x′), exactly the gradient times the difference."""
    model, x, x0 = explainsvc.load(models.linear()), numbers(2, 4), numbers(2, 4, seed=1)
    for method in [*METHODS, "deep_shap"]:
        found = model.explain({"x": x}, method, target=1, baseline=x0).values["x"]
        np.testing.assert_allclose(found, (x - x0) * models.weights("w", 4, 3)[:, 1], rtol=1e-5, atol=1e-7)


def _of(text: str, x: Sequence[float], x0: Sequence[float], **tensors: Array) -> Array:
    """deeplift's values of a graph of x [N, n] in float64, for one item."""
    model = explainsvc.load(models.build(f"g (double[N, {len(x)}] x) => (double[N, 1] y) {{ {text} }}", tensors))
    found = model.explain({"x": np.array([x], float)}, "deeplift", baseline=np.array([x0], float))
    return np.asarray(found.values["x"][0])


PAIR = "a, b = Split <axis = 1> (x)"


def test_products_are_shared_as_shapley_values() -> None:
    """a b: the mean over both orders of exchanging a and b for their baselines."""
    found = _of(f"{PAIR}  y = Mul (a, b)", (3.0, -2.0), (1.0, 4.0))
    a, b, a0, b0 = 3.0, -2.0, 1.0, 4.0
    np.testing.assert_allclose(found, [((a - a0) * b0 + (a - a0) * b) / 2, (a * (b - b0) + a0 * (b - b0)) / 2], atol=1e-12)


@pytest.mark.parametrize("b", [2.0, -2.0])
def test_quotients(b: float) -> None:
    """a/b: (Δa − ȳ Δb)/b̄ where the signs of b and b′ agree, the Shapley values of a · (1/b) where they differ."""
    a, a0, b0 = 3.0, 1.0, 4.0
    found = _of(f"{PAIR}  y = Div (a, b)", (a, b), (a0, b0))
    middle, size = (a / b + a0 / b0) / 2, (b + b0) / 2
    agreeing = [(a - a0) / size, -middle * (b - b0) / size]
    shapley = [(a - a0) * (1 / b + 1 / b0) / 2, (a + a0) / 2 * (1 / b - 1 / b0)]
    np.testing.assert_allclose(found, agreeing if b > 0 else shapley, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 700.0])
def test_softmax_is_its_definition_rescaled(shift: float) -> None:
    """exp, sum and quotient one after the other in numpy; unchanged where the exponentials themselves overflow."""
    x, x0 = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, -0.5])
    found = _of("p = Softmax (x)  y = MatMul (p, w)", x + shift, x0 + shift, w=np.array([[1.0], [-2.0], [0.5]]))
    e, e0, m = np.exp(x), np.exp(x0), np.array([1.0, -2.0, 0.5])
    middle, size = (e / e.sum() + e0 / e0.sum()) / 2, (e.sum() + e0.sum()) / 2
    np.testing.assert_allclose(found, (e - e0) / size * (m - (m * middle).sum()), atol=1e-10)


def test_a_maximum_goes_to_the_winner_of_the_higher_side() -> None:
    """max(1, 5, 2) against max(4, 0, 3): 5 > 4, so that the second gets Δy = 1; exchanged, it loses it."""
    for op in ("ReduceMax <axes = [1]> (x)", "MaxPool <kernel_shape = [3]> (u)"):
        text = f"u = Unsqueeze (x, o)  z = {op}  y = Reshape (z, r)"
        tensors = {"o": np.array([1]), "r": np.array([-1, 1])}
        np.testing.assert_allclose(_of(text, (1, 5, 2), (4, 0, 3), **tensors), [0, 1, 0], atol=1e-12)
        np.testing.assert_allclose(_of(text, (4, 0, 3), (1, 5, 2), **tensors), [0, -1, 0], atol=1e-12)


def test_a_degenerate_baseline_does_not_blow_up() -> None:
    """Layer normalisation of a constant baseline, whose deviation is √ε: no value exceeds the result's own size tenfold."""
    text = "g (double[N, 4] x) => (double[N, 4] y) { y = LayerNormalization (x, s) }"
    model = explainsvc.load(models.build(text, {"s": np.ones(4)}))
    found = model.explain({"x": np.array([[0.5, -1.0, 2.0, 0.1]])}, "deeplift", target=2)
    assert np.abs(found.values["x"]).max() < 10
    np.testing.assert_allclose(found.residual, 0, atol=1e-9)


def test_a_condition_that_changes_is_left_to_the_residual() -> None:
    """Where (x > 0, x, −x/2): the part of the condition has nobody to go to; the residual has it, and a caveat says so."""
    text = """g (double[N, 2] x) => (double[N, 1] y) {
      c = Greater (x, zero)  n = Mul (x, half)  w = Where (c, x, n)  y = ReduceSum (w, one)
    }"""
    model = explainsvc.load(models.build(text, {"zero": np.array(0.0), "half": np.array(-0.5), "one": np.array([1])}))
    same = model.explain({"x": np.array([[1.0, 2.0]])}, "deeplift", baseline=np.array([0.5, 0.25]))
    np.testing.assert_allclose(same.residual, 0, atol=1e-12)
    assert not same.caveats
    found = model.explain({"x": np.array([[1.0, 2.0]])}, "deeplift", baseline=np.array([-2.0, 1.0]))
    total = found.values["x"].sum()
    assert found.residual is not None
    assert abs(found.residual[0]) > 0.1
    np.testing.assert_allclose(total - found.residual, found.output_value - found.baseline_value, atol=1e-12)
    assert any("do not sum" in caveat for caveat in found.caveats)


# What has no multiplier ----------------------------------------------------------------------------------------------

CELL = {"w": models.weights("w", 1, 8, 4), "w2": models.weights("w2", 1, 8, 2)}
REFUSED: dict[str, tuple[str, dict[str, Array]]] = {
    "TopK": ("z, i = TopK (x, k)", {"k": np.array([2])}),
    "Hardmax": ("z = Hardmax (x)", {}),
    "Det": ("u = MatMul (x, w)  v = Reshape (u, r)  z = Det (v)", {"w": models.weights("w", 4, 4), "r": np.array([-1, 2, 2])}),
    "Pow": ("t = Exp (x)  z = Pow (t, x)", {}),
    "Gather": ("i = ArgMax <axis = 1, keepdims = 0> (x)  z = Gather <axis = 1> (x, i)", {}),
    "LSTM": ("u = Unsqueeze (x, o)  z = LSTM <hidden_size = 2> (u, w, w2)", {**CELL, "o": np.array([0])}),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("operator", REFUSED)
def test_what_has_no_multiplier_is_refused(operator: str, method: str) -> None:
    """A typed error that names node and operator, never the gradient in disguise; inspect gives the same reason."""
    body, tensors = REFUSED[operator]
    text = f"g (float[N, 4] x) => (float[N, 1] y) {{ {body}  f = Flatten <axis = 1> (z)  y = ReduceSum (f, one) }}"
    model = explainsvc.load(models.build(text, tensors | {"one": np.array([1])}))
    with pytest.raises(NotDifferentiable, match=operator) as caught:
        model.explain({"x": numbers(2, 4)}, method)
    assert caught.value.where
    assert caught.value.to_do
    assert model.info.methods[method] == str(caught.value)


def test_control_flow_is_refused() -> None:
    """The branches of an If that reads the input are not held against a baseline."""
    text = """g (float[N, 4] x) => (float[N, 4] y) {
      m = ReduceMax <keepdims = 0> (x)  c = Greater (m, zero)
      y = If (c) <then_branch = t () => (float[N, 4] p) { p = Tanh (x) }, else_branch = e () => (float[N, 4] q) { q = Neg (x) }>
    }"""
    model = explainsvc.load(models.build(text, {"zero": np.array(0, np.float32)}))
    with pytest.raises(NotDifferentiable, match="If"):
        model.explain({"x": numbers(2, 4)}, "deeplift")


# Requests ------------------------------------------------------------------------------------------------------------


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


# Deep SHAP -----------------------------------------------------------------------------------------------------------


def test_deep_shap_is_the_mean_over_rows() -> None:
    """Row by row by deeplift, whatever the number of items in a run."""
    x, rows = numbers(3, 2, 8, 8), numbers(5, 2, 8, 8, seed=3)
    expected = np.mean([CNN.explain({"x": x}, "deeplift", target=2, baseline=row).values["x"] for row in rows], axis=0)
    for batch_size in (1, 6, 64):
        found = CNN.explain({"x": x}, "deep_shap", target=2, background=rows, batch_size=batch_size)
        np.testing.assert_allclose(found.values["x"], expected, rtol=1e-4, atol=1e-6)


def test_deep_shap_reports_additivity() -> None:
    """The baseline value is the mean of S over the rows, the residual what the sum leaves of the difference to it."""
    x, rows = numbers(3, 6), numbers(4, 6, seed=3)
    found = MLP.explain({"x": x}, "deep_shap", target=1, background=rows)
    mean = MLP.predict({"x": rows})["y"][:, 1].astype(np.float64).mean()
    np.testing.assert_allclose(found.baseline_value, [mean] * 3, rtol=1e-6)
    total = found.values["x"].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(found.residual, total - (found.output_value - mean), atol=1e-6)
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)


def test_deep_shap_of_a_product_is_exact() -> None:
    """x₀ x₁ has two players: the Shapley values of every row's game, averaged."""
    text = f"g (double[N, 2] x) => (double[N, 1] y) {{ {PAIR}  y = Mul (a, b) }}"
    x, rows = np.array([[3.0, -2.0]]), np.array([[1.0, 4.0], [0.0, 1.0], [-1.0, 2.0]])
    found = explainsvc.load(models.build(text)).explain({"x": x}, "deep_shap", background=rows).values["x"]
    shapley = [[(x[0, i] - r[i]) * (x[0, 1 - i] + r[1 - i]) / 2 for i in range(2)] for r in rows]
    np.testing.assert_allclose(found, [np.mean(shapley, axis=0)], atol=1e-12)


def test_background_of_another_shape_is_refused() -> None:
    """Rows must have an item's shape; the violation says which."""
    with pytest.raises(InvalidParameter, match="background"):
        MLP.explain({"x": numbers(2, 6)}, "deep_shap", background=numbers(3, 5))
