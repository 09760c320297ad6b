"""Every LRP method against its rules in matrix form, written from the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from tests import models
from tests.methods import dense
from tests.methods.dense import STABILIZER, Rule
from tests.models import Array, numbers

EPSILON = 0.05
LOW, HIGH = -4.0, 5.0
MLP, CNN = explainsvc.load(models.mlp()), explainsvc.load(models.cnn())
BOX = {"low": LOW, "high": HIGH}
OPTIONS: dict[str, dict[str, Any]] = {
    "lrp_0": {},
    "lrp_epsilon": {"epsilon": EPSILON},
    "lrp_z_plus": {},
    "lrp_alpha_beta": {"alpha": 1.5, "beta": 0.5},
    "lrp_gamma": {"gamma": 0.3},
    "lrp_z_box": BOX,
    "lrp_w_square": {},
    "lrp_flat": {},
    "lrp_epsilon_plus": {"epsilon": EPSILON},
    "lrp_epsilon_plus_flat": {"epsilon": EPSILON},
    "lrp_epsilon_alpha2_beta1": {"epsilon": EPSILON},
    "lrp_epsilon_alpha2_beta1_flat": {"epsilon": EPSILON},
    "lrp_epsilon_gamma_box": {"epsilon": EPSILON, "gamma": 0.25} | BOX,
    "lrp_preset_a": {},
    "lrp_preset_a_flat": {},
    "lrp_preset_b": {},
    "lrp_preset_b_flat": {},
}
"""Parameters of the request; where a default is what the paper says, none."""
METHODS = list(OPTIONS)


def rules(method: str, bias: bool) -> tuple[Rule, Rule, Rule]:
    """What the method does at the first layer, at convolutions, at dense layers."""
    epsilon, plus, zero = dense.epsilon_rule(EPSILON, bias), dense.z_plus_rule(bias), dense.zero_rule(bias)
    tenth, both = dense.epsilon_rule(0.1, bias), dense.alpha_beta_rule(2, 1, bias)
    some, gamma = dense.alpha_beta_rule(1.5, 0.5, bias), dense.gamma_rule(0.3, bias)
    return {
        "lrp_0": (zero, zero, zero),
        "lrp_epsilon": (epsilon, epsilon, epsilon),
        "lrp_z_plus": (plus, plus, plus),
        "lrp_alpha_beta": (some, some, some),
        "lrp_gamma": (gamma, gamma, gamma),
        "lrp_z_box": (dense.z_box_rule(LOW, HIGH), plus, plus),
        "lrp_w_square": (dense.w_square_rule, dense.w_square_rule, dense.w_square_rule),
        "lrp_flat": (dense.flat_rule, dense.flat_rule, dense.flat_rule),
        "lrp_epsilon_plus": (plus, plus, epsilon),
        "lrp_epsilon_plus_flat": (dense.flat_rule, plus, epsilon),
        "lrp_epsilon_alpha2_beta1": (both, both, epsilon),
        "lrp_epsilon_alpha2_beta1_flat": (dense.flat_rule, both, epsilon),
        "lrp_epsilon_gamma_box": (dense.z_box_rule(LOW, HIGH), dense.gamma_rule(0.8, bias), epsilon),
        "lrp_preset_a": (plus, plus, tenth),
        "lrp_preset_a_flat": (dense.flat_rule, plus, tenth),
        "lrp_preset_b": (both, both, tenth),
        "lrp_preset_b_flat": (dense.flat_rule, both, tenth),
    }[method]


def options(method: str, bias: bool) -> dict[str, Any]:
    """Parameters of the request."""
    return {"bias": "counted" if bias else "ignored"} | OPTIONS[method]


def close(found: Array, expected: Array) -> None:
    """Equal to a ten-thousandth of the largest value: float32 against float64 through ten layers."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", METHODS)
def test_dense_layers_follow_the_rule(method: str, bias: bool) -> None:
    """On a three-layer perceptron every element equals the sums of the paper's formula."""
    x = numbers(4, 6)
    found = MLP.explain({"x": x}, method, target=[0, 1, 2, 0], **options(method, bias)).values["x"]
    first, _, head = rules(method, bias)
    if not method.endswith("_flat") and method != "lrp_z_box":
        first = head  # the first layer is dense here, and no row is about first dense layers
    for item, target in enumerate([0, 1, 2, 0]):
        close(found[item], dense.mlp_relevance(x[item], target, (first, head, head)))


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", METHODS)
def test_convolutions_sums_and_pooling_follow_the_rules(method: str, bias: bool) -> None:
    """BatchNorm folded, residual Add, AveragePool, Concat: every pixel equals the matrices' result."""
    x = numbers(2, 2, 8, 8)
    found = CNN.explain({"x": x}, method, target=[0, 2], **options(method, bias)).values["x"]
    for item, target in enumerate([0, 2]):
        close(found[item], dense.cnn_relevance(x[item], target, *rules(method, bias)))


@pytest.mark.parametrize("method", ["lrp_z_plus", "lrp_epsilon_plus"])
def test_z_plus_splits_signs_of_input_and_weight(method: str) -> None:
    """A first layer with negative inputs counts a⁻w⁻ as positive: one convolution, checked by hand."""
    graph = "g (float[N, 1, 1, 2] x) => (float[N, 1, 1, 1] y) { y = Conv (x, w, b) }"
    tensors = {"w": np.array([[[[2, -3]]]], np.float32), "b": np.array([4], np.float32)}
    x = np.array([[[[-1, -2]]]], np.float32)
    found = explainsvc.load(models.build(graph, tensors)).explain({"x": x}, method).values["x"]
    s = -2 + 6 + 4
    np.testing.assert_allclose(found, [[[[0, 6 / (6 + 4) * s]]]], rtol=1e-5)


CONSERVING = ["lrp_0", "lrp_epsilon", "lrp_z_plus", "lrp_gamma", "lrp_epsilon_plus", "lrp_epsilon_plus_flat"]


@pytest.mark.parametrize("method", CONSERVING)
def test_relevance_is_conserved_with_biases_ignored(method: str) -> None:
    """Through residual Add, AveragePool and Concat the sum over the input stays S to 1e-5; the residual reports the rest."""
    x = numbers(3, 2, 8, 8, seed=3)
    parameters = options(method, bias=False) | ({"epsilon": 1e-9} if "epsilon" in OPTIONS[method] else {})
    found = CNN.explain({"x": x}, method, **parameters)
    total = found.values["x"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, found.output_value, rtol=1e-5)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, total - found.output_value, atol=1e-12)


@pytest.mark.parametrize("make", [models.mlp, models.cnn])
def test_epsilon_tends_to_input_times_gradient(make: Any) -> None:
    """On ReLU networks without biases LRP-0 is x ⊙ gradient (Shrikumar et al. 2016)."""
    proto = make(bias=False) if make is models.mlp else make(bias=False, batchnorm=False)
    model = explainsvc.load(proto)
    x = numbers(3, 6) if make is models.mlp else numbers(3, 2, 8, 8)
    relevance = model.explain({"x": x}, "lrp_epsilon", target=1, epsilon=1e-9).values["x"]
    close(relevance, model.explain({"x": x}, "input_x_gradient", target=1).values["x"])


def test_a_target_against_another_is_the_difference() -> None:
    """Relevance is linear in what is explained: y₀ − y₂ gets R(y₀) − R(y₂)."""
    x = numbers(2, 6)
    values = [MLP.explain({"x": x}, "lrp_epsilon", target=t).values["x"] for t in (0, 2, {"index": 0, "against": 2})]
    np.testing.assert_allclose(values[2], values[0] - values[1], rtol=1e-4, atol=1e-5)


def _between(middle: str, **tensors: Array) -> explainsvc.Model:
    """A dense layer, ``middle`` from h to m, a dense layer."""
    graph = f"g (float[N, 4] x) => (float[N, 2] y) {{ h = Gemm (x, w1)  [it] {middle}  y = Gemm (m, w2) }}"
    return explainsvc.load(models.build(graph, {"w1": models.weights("w1", 4, 4), "w2": models.weights("w2", 4, 2)} | tensors))


REFUSED = {
    "Softmax": _between("m = Softmax (h)"),
    "LayerNormalization": _between("m = LayerNormalization (h, g)", g=np.ones(4, np.float32)),
    "Mul": _between("m = Mul (h, h)"),
    "Div": _between("m = Div (c, h)", c=np.ones(4, np.float32)),
    "MatMul": _between("t = Transpose <perm = [1, 0]> (h)  q = MatMul (h, t)  m = MatMul (q, h)"),
    "Sin": _between("m = Sin (h)"),
}


@pytest.mark.parametrize("operator", REFUSED)
@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_rule_is_refused(method: str, operator: str) -> None:
    """Inner Softmax, normalisation, products of activations: a typed error that names the node, never a gradient in disguise."""
    with pytest.raises(explainsvc.errors.NotDifferentiable, match=operator) as caught:
        REFUSED[operator].explain({"x": numbers(2, 4)}, method, target=0)
    assert caught.value.where
    assert caught.value.to_do


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Tanh", "Sigmoid", "Gelu", "Elu"])
def test_activations_pass_relevance_unchanged(activation: str) -> None:
    """The relevance of a neuron is that of its pre-activation, whichever function it applies."""
    proto = models.mlp(activation=activation)
    proto.opset_import[0].version = 20
    model, x = explainsvc.load(proto), numbers(1, 6)
    inner = {name: model.value_of({"x": x}, name)[0].astype(np.float64) for name in ("h1", "a1", "h2", "a2", "y")}
    w = [models.weights("w1", 8, 6).T, models.weights("w2", 8, 7), models.weights("w3", 7, 3)]
    r = np.eye(3)[1] * inner["y"]
    rule = dense.epsilon_rule(STABILIZER)
    for weight, name, a in zip(reversed(w), ("b3", "b2", "b1"), (inner["a2"], inner["a1"], x[0].astype(np.float64)), strict=True):
        r = rule(dense.dense(weight, models.weights(name, weight.shape[1])), a, r)
    close(model.explain({"x": x}, "lrp_epsilon", target=1).values["x"][0], r)


def test_a_single_operand_einsum_is_refused_by_z_plus() -> None:
    """Without a weight operand z⁺ has nothing to split: a typed error, where the ε-rule shares by contribution."""
    model = _between('m = Einsum <equation = "ij->ij"> (h)')
    with pytest.raises(explainsvc.errors.NotDifferentiable, match="Einsum"):
        model.explain({"x": numbers(2, 4)}, "lrp_z_plus", target=0)
    found = model.explain({"x": numbers(2, 4)}, "lrp_epsilon", target=0)
    np.testing.assert_allclose(found.residual, 0, atol=1e-4)


@pytest.mark.parametrize("method", ["lrp_z_plus", "lrp_epsilon_plus_flat"])
def test_an_einsum_of_three_is_refused(method: str) -> None:
    """Its third operand is one more factor, not a bias: neither rule says what becomes of its sign."""
    text = 'g (float[N, 3] x) => (float[N, 5] y) { y = Einsum <equation = "ni, ij, jk -> nk"> (x, w, v) }'
    model = explainsvc.load(models.build(text, {"w": models.weights("w", 3, 4), "v": models.weights("v", 4, 5)}))
    with pytest.raises(explainsvc.errors.NotDifferentiable, match="Einsum"):
        model.explain({"x": numbers(1, 3)}, method)
