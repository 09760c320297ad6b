"""guided_backprop and deconvnet: the dense formula on a small ReLU network, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.models import Array, numbers

W = [models.weights("w1", 8, 6).T, models.weights("w2", 8, 7), models.weights("w3", 7, 3)]
B = [models.weights("b1", 8), models.weights("b2", 7)]
BOTH = ["guided_backprop", "deconvnet", "guided_grad_cam"]


def backwards(x: Array, target: int, mask: bool, top: float = np.inf) -> Array:
    """R ← W R⁺ ⊙ 1[0 < z < top] layer by layer (the mask for guided backpropagation only)."""
    z1 = x.astype(np.float64) @ W[0] + B[0]
    z2 = np.clip(z1, 0, top) @ W[1] + B[1]
    r = np.tile(W[2][:, target].astype(np.float64), (len(x), 1))
    for z, w in ((z2, W[1]), (z1, W[0])):
        r = np.maximum(r, 0) * (((z > 0) & (z < top)) if mask else 1)
        r = r @ w.T
    return r


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_relu_networks_by_the_dense_formula(method: str) -> None:
    """Springenberg 2015 (with the forward mask) and Zeiler 2014 (without) in numpy; the two differ here."""
    x = numbers(4, 6)
    found = explainsvc.load(models.mlp()).explain({"x": x}, method, target=1).values["x"]
    np.testing.assert_allclose(found, backwards(x, 1, method == "guided_backprop"), rtol=1e-5, atol=1e-6)
    assert np.abs(backwards(x, 1, True) - backwards(x, 1, False)).max() > 0.1


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_relu6_is_a_rectifier(method: str) -> None:
    """A Clip from 0 up to a bound is treated as a ReLU that also closes at the bound."""
    proto = models.mlp()
    for node in proto.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Clip"
            node.input.extend(["low", "high"])
    for name, value in (("low", 0), ("high", 0.8)):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    x = numbers(4, 6)
    found = explainsvc.load(proto).explain({"x": x}, method, target=1).values["x"]
    np.testing.assert_allclose(found, backwards(x, 1, method == "guided_backprop", 0.8), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["LeakyRelu", "Elu", "Selu", "Celu", "Softplus", "ThresholdedRelu"])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_other_rectifiers_are_refused_by_name(method: str, activation: str) -> None:
    """What the papers do not define is an error that names activation and node, never the plain gradient."""
    model = explainsvc.load(models.mlp(activation=activation))
    with pytest.raises(MethodNotApplicable, match=activation) as caught:
        model.explain({"x": numbers(1, 6)}, method)
    assert "act" in caught.value.where
    assert caught.value.to_do
    assert activation in model.info.methods[method]


def test_a_mixture_is_refused_too() -> None:
    """One LeakyReLU among ReLUs is enough."""
    proto = models.mlp()
    next(node for node in proto.graph.node if node.name == "act2").op_type = "LeakyRelu"
    with pytest.raises(MethodNotApplicable, match="act2"):
        explainsvc.load(proto).explain({"x": numbers(1, 6)}, "guided_backprop")


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("make", [models.linear, models.without_batch])
def test_networks_without_relu_are_refused(method: str, make: object) -> None:
    """A linear or tanh network has no ReLU to guide through."""
    assert callable(make)
    model = explainsvc.load(make())
    with pytest.raises(MethodNotApplicable, match="ReLU"):
        model.explain({"x": numbers(1, 4) if make is models.linear else numbers(5)}, method)


@pytest.mark.parametrize("method", BOTH)
def test_the_known_weakness_is_in_the_result(method: str) -> None:
    """Adebayo et al. 2018: largely invariant to upper-layer weights, said with every map."""
    found = explainsvc.load(models.cnn()).explain({"x": numbers(1, 2, 8, 8)}, method)
    assert any("Adebayo" in caveat for caveat in found.caveats)
