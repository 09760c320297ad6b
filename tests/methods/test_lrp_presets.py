"""Deep Taylor decomposition, excitation backpropagation, the smoothed gradient: presets that start or end otherwise."""

from __future__ import annotations

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable, NotDifferentiable
from tests import models
from tests.methods import dense
from tests.methods.test_lrp_rules import close
from tests.models import numbers

CNN, X = explainsvc.load(models.cnn()), numbers(4, 2, 8, 8, seed=1)
PLUS = dense.z_plus_rule(bias=False)


@pytest.mark.parametrize("box", [{}, {"low": -5.0, "high": 4.5}], ids=["unbounded", "bounded"])
def test_deep_taylor_follows_the_paper(box: dict[str, float]) -> None:
    """z⁺ without bias before ReLUs (behind sums and Concat too), w² at the head, z^B at a bounded input, from S⁺."""
    first = dense.z_box_rule(box["low"], box["high"]) if box else PLUS
    signs = set()
    for target in range(3):
        found = CNN.explain({"x": X}, "deep_taylor", target, **box)
        for item, value in enumerate(found.output_value):
            expected = dense.cnn_relevance(X[item], target, first, PLUS, dense.w_square_rule)
            close(found.values["x"][item], expected if value > 0 else 0 * expected)
            signs.add(value > 0)
    assert signs == {True, False}


@pytest.mark.parametrize("method", ["deep_taylor", "excitation_backprop"])
def test_without_residual_sums_nothing_is_negative(method: str) -> None:
    """Positive relevance is divided in proportion to positive parts only."""
    x, model = numbers(8, 6), explainsvc.load(models.mlp())
    found = [model.explain({"x": x}, method, target).values["x"] for target in range(3)]
    assert np.min(found) >= 0
    assert np.max(found) > 0.1


def test_deep_taylor_puts_w_square_where_no_relu_follows() -> None:
    """A layer that another layer reads, and one that a ReLU reads on one way only."""
    graph = """g (float[N, 4] x) => (float[N, 3] y) {
      [one] a = Gemm (x, w1)  [two] b = Gemm (a, w2)  [act] c = Relu (b)
      [three] d = Gemm (c, w2)  [act2] e = Relu (d)  [sum] f = Add (d, e)  [head] y = Gemm (f, w3)
    }"""
    shapes = {"w1": (4, 5), "w2": (5, 5), "w3": (5, 3)}
    model = explainsvc.load(models.build(graph, {name: models.weights(name, *shape) for name, shape in shapes.items()}))
    rules = {node.name: node.rules["deep_taylor"] for node in model.info.nodes}
    assert [rules[name] for name in ("one", "two", "three", "head")] == [
        "lrp_w_square",
        "lrp_z_plus",
        "lrp_w_square",
        "lrp_w_square",
    ]


@pytest.mark.parametrize("activation", ["Tanh", "LeakyRelu", "Elu", "Sigmoid"])
def test_deep_taylor_refuses_other_activations(activation: str) -> None:
    """The decomposition is derived for ReLU: a typed error names the first other one."""
    with pytest.raises(NotDifferentiable, match=activation):
        explainsvc.load(models.mlp(activation=activation)).explain({"x": numbers(1, 6)}, "deep_taylor")


@pytest.mark.parametrize("bias", ["ignored", "counted"])
def test_excitation_backprop_is_a_walk(bias: str) -> None:
    """Transition probabilities as the paper prints them, from one: a distribution over the input, whatever S is."""
    rule = dense.z_plus_rule(bias == "counted")
    found = CNN.explain({"x": X}, "excitation_backprop", target=2, bias=bias)
    for item, value in enumerate(found.output_value):
        close(found.values["x"][item], dense.cnn_relevance(X[item], 2, rule, rule, rule) / value)
    total = found.values["x"].sum(axis=(1, 2, 3))
    assert found.residual is None
    if bias == "ignored":
        np.testing.assert_allclose(total, 1, rtol=1e-4)
    else:
        assert np.all(total < 0.99)


@pytest.mark.parametrize("beta", [10.0, 0.5])
def test_beta_smooth_is_the_chain_of_sigmoids(beta: float) -> None:
    """∂S/∂x with σ(βz) at both ReLUs, by matrices."""
    x, model = numbers(3, 6), explainsvc.load(models.mlp())
    found = model.explain({"x": x}, "beta_smooth", target=1, beta=beta).values["x"]
    w = [models.weights("w1", 8, 6).T, models.weights("w2", 8, 7), models.weights("w3", 7, 3)]
    for item in range(3):
        z = {n: model.value_of({"x": x[item : item + 1]}, n)[0].astype(np.float64) for n in ("h1", "h2")}
        slopes = [1 / (1 + np.exp(-beta * z[n])) for n in ("h1", "h2")]
        close(found[item], w[0] @ (slopes[0] * (w[1] @ (slopes[1] * w[2][:, 1]))))


def test_a_sharp_beta_is_the_gradient() -> None:
    """σ(βz) → 1[z > 0] for β → ∞."""
    x, model = numbers(3, 6), explainsvc.load(models.mlp())
    smooth = model.explain({"x": x}, "beta_smooth", target=1, beta=1e6).values["x"]
    close(smooth, model.explain({"x": x}, "gradient", target=1).values["x"])


def test_beta_smooth_needs_a_relu() -> None:
    """Without one it would be the gradient under another name."""
    with pytest.raises(MethodNotApplicable, match="ReLU"):
        explainsvc.load(models.mlp(activation="Tanh")).explain({"x": numbers(1, 6)}, "beta_smooth")
