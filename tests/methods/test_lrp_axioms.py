"""What LRP's rules have in common with each other and with the gradient, and what the last formula says in extreme cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, NotDifferentiable
from tests import models
from tests.methods import dense
from tests.methods.test_lrp_rules import close
from tests.models import Array, numbers

SIGNED = explainsvc.load(models.mlp(activation="Tanh"))
"""Every neuron has contributions of both signs."""
BARE = {"mlp": explainsvc.load(models.mlp(bias=False)), "cnn": explainsvc.load(models.cnn(bias=False, batchnorm=False))}
X = {"mlp": numbers(3, 6), "cnn": numbers(3, 2, 8, 8)}


def relevance(model: explainsvc.Model, x: Array, method: str, target: Any = 1, **parameters: Any) -> Array:
    """The map of x."""
    return model.explain({"x": x}, method, target, **parameters).values["x"]


@pytest.mark.parametrize("parameters", [{"alpha": 2, "beta": 1}, {"alpha": 1, "beta": 0}, {"alpha": 3.5, "beta": 2.5}])
def test_alpha_beta_conserves_where_both_signs_occur(parameters: dict[str, float]) -> None:
    """α − β = 1: with biases ignored the shares of every neuron add up to its relevance."""
    found = SIGNED.explain({"x": numbers(4, 6)}, "lrp_alpha_beta", target=1, bias="ignored", **parameters)
    np.testing.assert_allclose(found.residual, 0, atol=1e-4 * np.abs(found.values["x"]).sum())


@pytest.mark.parametrize("name", BARE)
def test_lrp_0_is_input_times_gradient(name: str) -> None:
    """On ReLU networks without biases (Shrikumar et al. 2016)."""
    close(relevance(BARE[name], X[name], "lrp_0"), relevance(BARE[name], X[name], "input_x_gradient"))


@pytest.mark.parametrize("name", BARE)
def test_gamma_one_is_lrp_0(name: str) -> None:
    """w⁺ + 1·w⁻ = w, whatever the signs of inputs and results."""
    close(relevance(BARE[name], X[name], "lrp_gamma", gamma=1), relevance(BARE[name], X[name], "lrp_0"))


def test_gamma_zero_is_alpha1_beta0_for_positive_activations() -> None:
    """Where inputs and the explained value are positive only positive contributions are left."""
    x = np.abs(numbers(64, 6))
    model = explainsvc.load(models.mlp())
    positive = x[model.predict({"x": x})["y"][:, 0] > 0]
    assert len(positive) > 1
    close(relevance(model, positive, "lrp_gamma", 0, gamma=0), relevance(model, positive, "lrp_z_plus", 0))


@pytest.mark.parametrize("added", [0.0, 0.25, 1.0, 9.0])
def test_both_spellings_of_gamma_are_equal(added: float) -> None:
    """w⁺ + γw⁻ with γ = 1/(1 + γ′) is w + γ′w⁺ but for a factor, which the denominator has too."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    ours = relevance(model, x, "lrp_gamma", gamma=1 / (1 + added))
    close(ours, relevance(model, x, "lrp_gamma", gamma=added, form="add_positive"))


def test_gamma_is_the_tutorials_formula_for_positive_inputs() -> None:
    """Σ_j a_i (w + γw⁺) / Σ_i a_i (w + γw⁺) R_j as it is printed, bias included."""
    x = np.abs(numbers(32, 4, seed=2))
    model = explainsvc.load(models.linear())
    w, b = models.weights("w", 4, 3), models.weights("b", 3)
    found = relevance(model, x, "lrp_gamma", 1, gamma=0.25, form="add_positive")
    rule, checked = dense.added_gamma_rule(0.25), 0
    for item in range(32):
        y = x[item].astype(np.float64) @ w + b
        if y[1] > 0:
            close(found[item], rule(dense.dense(w, b), x[item].astype(np.float64), np.eye(3)[1] * y))
            checked += 1
    assert checked > 1


def test_lrp_0_of_a_silent_neuron_is_zero() -> None:
    """Where contributions cancel to z = 0 exactly, nothing is handed on: no NaN."""
    text = "g (float[N, 2] x) => (float[N, 2] y) { y = MatMul (x, w) }"
    model = explainsvc.load(models.build(text, {"w": np.array([[1, 1], [1, 2]], np.float32)}))
    found = relevance(model, np.array([[1, -1]], np.float32), "lrp_0", {"seed": np.ones((1, 2), np.float32)})
    np.testing.assert_array_equal(found, [[1, -2]])  # the first neuron is silent


# A bias that leads to the input -------------------------------------------------------------------------------------

JOINED = """g (float[N, 4] x) => (float[N, 3] y) {{
  u = MatMul (x, v)  [layer] y = Gemm <alpha = {alpha}, beta = {beta}> (x, w, u)
}}"""
V, W = models.weights("v", 4, 3), models.weights("w", 4, 3)
RULES: dict[str, tuple[dict[str, Any], dense.Rule]] = {
    "lrp_0": ({}, dense.zero_rule()),
    "lrp_epsilon": ({"epsilon": 0.05}, dense.epsilon_rule(0.05)),
    "lrp_z_plus": ({}, dense.z_plus_rule()),
    "lrp_alpha_beta": ({}, dense.alpha_beta_rule(2, 1)),
    "lrp_gamma": ({"gamma": 0.3}, dense.gamma_rule(0.3)),
    "lrp_w_square": ({}, dense.w_square_rule),
    "lrp_flat": ({}, dense.flat_rule),
}


@pytest.mark.parametrize("bias", ["counted", "ignored"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (-0.5, 2.0), (2.0, -1.5)])
@pytest.mark.parametrize("method", RULES)
def test_a_bias_that_leads_to_the_input_is_an_input(method: str, alpha: float, beta: float, bias: str) -> None:
    """y = α x·w + β u with u = x·v: the neuron has four inputs with weights αw and one with weight β."""
    model = explainsvc.load(models.build(JOINED.format(alpha=alpha, beta=beta), {"v": V, "w": W}))
    assert [n.op_type for n in model.graph if n.name == "layer"] == ["Gemm"]
    parameters, rule = RULES[method]
    x = numbers(3, 4, seed=5)
    found = relevance(model, x, method, bias=bias, **parameters)
    below = dense.dense(V)
    stacked = np.vstack([alpha * W, beta * np.eye(3)])
    layer = dense.Layer(stacked.astype(np.float64), np.zeros(3), np.vstack([np.ones((4, 3)), np.eye(3)]))
    for item in range(3):
        a = x[item].astype(np.float64)
        inputs = np.concatenate([a, below(a)])
        r = rule(layer, inputs, np.eye(3)[1] * layer(inputs))
        close(found[item], r[:4] + rule(below, a, r[4:]))


def test_a_convolution_whose_bias_leads_to_the_input_keeps_its_relevance() -> None:
    """y = x ∗ w + mean(x): z⁺ gives S in full, the bias being one more input and no constant."""
    text = """g (float[N, 1, 3, 3] x) => (float[N, 1, 3, 3] y) {
      m = ReduceMean <axes = [0, 1, 2, 3], keepdims = 0> (x)  b = Reshape (m, one)
      y = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    }"""
    model = explainsvc.load(models.build(text, {"w": models.weights("w", 1, 1, 3, 3), "one": np.array([1], np.int64)}))
    x = np.abs(numbers(1, 1, 3, 3))
    target = {"seed": np.ones((1, 1, 3, 3), np.float32)}
    for method in ("lrp_z_plus", "lrp_flat", "lrp_epsilon", "lrp_w_square"):
        found = model.explain({"x": x}, method, target, bias="ignored")
        np.testing.assert_allclose(found.residual, 0, atol=1e-4 * np.abs(found.values["x"]).sum())


def test_a_layer_that_only_its_bias_joins_to_the_input_is_refused() -> None:
    """z⁺ has no data operand there: a typed error; with biases counted ε shares by contribution."""
    text = "g (float[N, 3] x) => (float[N, 3] y) { y = Gemm (c, w, x) }"
    model = explainsvc.load(models.build(text, {"c": numbers(2, 4), "w": W}))
    with pytest.raises(NotDifferentiable, match="in the place of a bias"):
        relevance(model, numbers(2, 3), "lrp_z_plus")
    x = numbers(2, 3)
    y = numbers(2, 4) @ W + x
    np.testing.assert_allclose(relevance(model, x, "lrp_0"), np.eye(3)[[1, 1]] * x, rtol=1e-5, atol=1e-6)
    assert np.all(y[:, 1] != 0)


def test_bounds_of_a_bias_that_leads_to_the_input_are_refused() -> None:
    """z^B is defined for inputs whose box is known, not for what a layer makes of them."""
    model = explainsvc.load(models.build(JOINED.format(alpha=1.0, beta=1.0), {"v": V, "w": W}))
    row = {"rule": "lrp_z_box", "nodes": "layer", "parameters": {"low": -9, "high": 9}}
    with pytest.raises(NotDifferentiable, match="in the place of a bias"):
        relevance(model, numbers(1, 4), "lrp", rulebook={"preset": "lrp_z_plus", "rows": [row]})


def test_a_broadcast_operand_gets_the_sum_of_its_places() -> None:
    """With biases ignored x [N, 1] + c [3] hands all relevance to x."""
    text = "g (float[N, 1] x) => (float[N, 3] y) { y = Add (x, c) }"
    model = explainsvc.load(models.build(text, {"c": np.array([1, 2, 3], np.float32)}))
    seed = np.array([[1, 2, -1]], np.float32)
    found = relevance(model, np.full((1, 1), 2, np.float32), "lrp_epsilon", {"seed": seed}, bias="ignored")
    np.testing.assert_allclose(found, [[3 + 2 * 4 - 5]], rtol=1e-6)


# Parameters that do not go together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "parameters", "field"),
    [
        ("lrp_alpha_beta", {"alpha": 2, "beta": 0.5}, "parameters.alpha"),
        ("lrp_gamma", {"gamma": 1.5}, "parameters.gamma"),
        ("lrp_z_box", {"low": 1, "high": 0}, "parameters.low"),
        ("lrp_z_box", {"low": 0}, "parameters.high"),
        ("lrp_z_box", {"low": 0, "high": [1, 2, 3]}, "parameters.high"),
        ("lrp_z_box", {"low": "zero", "high": 1}, "parameters.low"),
        ("lrp_z_box", {"low": {"z": 0}, "high": 1}, "parameters.low"),
        ("deep_taylor", {"low": 0}, "parameters.high"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_go_together_are_refused(method: str, parameters: dict[str, Any], field: str) -> None:
    """α − β ≠ 1, γ over 1, bounds that are missing, crossed, of the wrong size or none: the violation names the parameter."""
    with pytest.raises(InvalidParameter) as caught:
        relevance(BARE["mlp"], X["mlp"], method, **parameters)
    assert [v.field for v in caught.value.violations] == [field]
